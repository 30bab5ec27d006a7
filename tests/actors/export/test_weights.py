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
    output = exported(name, PYTORCH, "float32", "float16")
    source = load_file(GOLDEN / "models" / name / "model.safetensors")
    (tmp_path / "one").mkdir()
    for file in ("config.json", "pytorch_model.bin"):
        copyfile(output / file, tmp_path / "one" / file)
    for folder in (output, tmp_path / "one"):
        model, report = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
        assert not report["missing_keys"]
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, source[key])
    half = AutoModelForQuestionAnswering.from_pretrained(output, variant="fp16", use_safetensors=False)
    assert half.state_dict()["qa_outputs.weight"].dtype == torch.float16


def test_the_pickle_holds_tensors_only(exported: Exported) -> None:
    output = exported("bert", PYTORCH, "float32", "float16")
    exact = torch.load(output / "pytorch_model.bin", weights_only=True)
    halves = torch.load(output / "pytorch_model.fp16.bin", weights_only=True)
    assert exact.keys() == halves.keys() == load_file(output / "model.safetensors").keys()
    assert {tensor.dtype for tensor in exact.values()} == {torch.float32}
    assert {tensor.dtype for tensor in halves.values()} == {torch.float16}


def test_half_safetensors_are_a_variant(exported: Exported) -> None:
    output = exported("distilbert", SAFETENSORS, "float32", "float16")
    model = AutoModelForQuestionAnswering.from_pretrained(output, variant="fp16")
    exact = AutoModelForQuestionAnswering.from_pretrained(output)
    assert model.dtype == torch.float16
    assert exact.dtype == torch.float32


def test_config_and_tokenizer_stand_beside_the_base(exported: Exported) -> None:
    output = exported("roberta", SAFETENSORS, "float32")
    config = json.loads((output / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("roberta", ["RobertaForQuestionAnswering"])
    found, expected = (AutoTokenizer.from_pretrained(folder) for folder in (output, GOLDEN / "models" / "roberta"))
    assert found("Who waits?", "Ada waits.")["input_ids"] == expected("Who waits?", "Ada waits.")["input_ids"]


@pytest.mark.parametrize("form", [SAFETENSORS, PYTORCH])
@pytest.mark.parametrize(("precision", "atol"), [("float32", 1e-5), ("float16", 0.05)])
def test_each_is_read_back(exported: Exported, form: ExportForm, precision: str, atol: float) -> None:
    output = exported("bert", form, "float32", "float16")
    assert_close(form.open(output, precision, TOOLS), golden_backend("bert"), golden_batch(has_types=True), atol)


def test_a_file_that_is_gone_is_named(exported: Exported) -> None:
    with pytest.raises(ModelError, match=r"holds no pytorch_model\.bin"):
        PYTORCH.open(exported("bert", SAFETENSORS, "float32"), "float32", TOOLS)


def test_a_number_that_float16_has_no_room_for(exported: Exported, tmp_path: Path) -> None:
    tensors = load_file(exported("bert", SAFETENSORS, "float32") / "model.safetensors")
    tensors["qa_outputs.bias"][0] = 70_000.0
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"beyond 65,504, and qa_outputs\.bias has one"):
        PYTORCH.write(tmp_path, tmp_path, "float16", True, TOOLS)
    assert not (tmp_path / "pytorch_model.fp16.bin").exists()


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
