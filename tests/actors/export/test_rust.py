from pathlib import Path
from shutil import copytree

import pytest
import torch
from safetensors.torch import load_file, save_file

from actors.errors import ModelError
from actors.export.form import ExportTools
from actors.export.rust import RUST, read_tensors
from tests.actors.helpers import GOLDEN, MODELS


@pytest.mark.parametrize("name", MODELS)
def test_tch_finds_every_tensor_under_its_name(name: str, tmp_path: Path) -> None:
    folder = GOLDEN / "models" / name
    RUST.write(folder, tmp_path, "float32", True, ExportTools())
    found = read_tensors(tmp_path / "rust_model.ot")
    for tensor_name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(found[tensor_name], tensor)


def test_an_archive_of_other_weights_is_refused(tmp_path: Path) -> None:
    folder = Path(copytree(GOLDEN / "models" / "bert", tmp_path / "bert"))
    RUST.write(folder, folder, "float32", True, ExportTools())
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"qa_outputs.bias": tensors["qa_outputs.bias"] + 1}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="qa_outputs.bias is not that of model.safetensors"):
        RUST.open(folder, "float32", ExportTools())


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rust_model.ot").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        RUST.open(tmp_path, "float32", ExportTools())
