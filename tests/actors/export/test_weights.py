"""Transformers reads what is written, by each of its two kinds of file."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError
from actors.export.form import ExportForm
from actors.export.weights import PYTORCH, SAFETENSORS
from tests.actors.export.conftest import TOOLS, Exported, assert_close, golden_backend, golden_batch
from tests.actors.helpers import GOLDEN, MODELS


@pytest.mark.parametrize("name", MODELS)
def test_transformers_reads_each_file_alone(exported: Exported, tmp_path: Path, name: str) -> None:
    output = exported(name, PYTORCH, "float32")
    source = load_file(GOLDEN / "models" / name / "model.safetensors")
    for file in ("model.safetensors", "pytorch_model.bin"):
        folder = tmp_path / file
        folder.mkdir()
        for needed in ("config.json", file):
            copyfile(output / needed, folder / needed)
        model, report = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
        assert not report["missing_keys"]
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, source[key])


def test_the_pickle_holds_tensors_only(exported: Exported) -> None:
    output = exported("bert", PYTORCH, "float32")
    found = torch.load(output / "pytorch_model.bin", weights_only=True)
    assert found.keys() == load_file(output / "model.safetensors").keys()
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}


def test_weights_of_16_bits_become_those_of_32_that_compute_the_same(
    copy_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of("distilbert")
    halves = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    SAFETENSORS.write(folder, tmp_path / "out", "float32", True, TOOLS)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert all(torch.equal(found[name], tensor.float()) for name, tensor in halves.items())
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "float32"


def test_config_and_tokenizer_stand_beside_the_base(exported: Exported) -> None:
    output = exported("roberta", SAFETENSORS, "float32")
    config = json.loads((output / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("roberta", ["RobertaForQuestionAnswering"])
    found, expected = (AutoTokenizer.from_pretrained(folder) for folder in (output, GOLDEN / "models" / "roberta"))
    assert found("Who waits?", "Ada waits.")["input_ids"] == expected("Who waits?", "Ada waits.")["input_ids"]


@pytest.mark.parametrize("form", [SAFETENSORS, PYTORCH], ids=lambda form: form.name)
def test_each_is_read_back(exported: Exported, form: ExportForm) -> None:
    output = exported("bert", form, "float32")
    assert_close(form.open(output, "float32", TOOLS), golden_backend("bert"), golden_batch(has_types=True), atol=1e-5)


def test_a_file_that_is_gone_or_broken_is_named(exported: Exported, tmp_path: Path) -> None:
    output = exported("bert", SAFETENSORS, "float32")
    with pytest.raises(ModelError, match=r"holds no pytorch_model\.bin"):
        PYTORCH.open(output, "float32", TOOLS)
    copyfile(output / "config.json", tmp_path / "config.json")
    (tmp_path / "pytorch_model.bin").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin cannot be read: .*cannot be loaded"):
        PYTORCH.open(tmp_path, "float32", TOOLS)


def test_an_encoder_keeps_its_own_pooler_and_gets_none_made_up(copy_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of("bert")
    torch.manual_seed(5)
    encoder = load_model(folder, with_qa_head=False)
    encoder.save_pretrained(folder)
    own, bare = tmp_path / "own", tmp_path / "bare"
    SAFETENSORS.write(folder, own, "float32", False, TOOLS)
    SAFETENSORS.write(GOLDEN / "models" / "bert", bare, "float32", False, TOOLS)
    assert "pooler.dense.weight" in load_file(own / "model.safetensors")
    assert not any("pooler" in name for name in load_file(bare / "model.safetensors"))
