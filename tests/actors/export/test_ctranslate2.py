"""CTranslate2 reads a folder for each precision, and the QA head lies beside the encoder."""

from pathlib import Path

import ctranslate2
import pytest
from safetensors.numpy import load_file

from actors.errors import ModelError
from actors.export.ctranslate2 import CTRANSLATE2
from tests.actors.export.conftest import TOOLS, Exported, assert_close, golden_backend, golden_batch


@pytest.fixture(scope="module")
def folder(exported: Exported) -> Path:
    return exported("distilbert", CTRANSLATE2, "float32", "int8")


@pytest.mark.parametrize(("precision", "atol"), [("float32", 1e-4), ("int8", 4.0)])
def test_each_is_read_back(folder: Path, precision: str, atol: float) -> None:
    backend = CTRANSLATE2.open(folder, precision, TOOLS)
    assert_close(backend, golden_backend("distilbert"), golden_batch(has_types=False), atol)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_ctranslate2_itself_reads_the_folder(folder: Path, precision: str) -> None:
    names = {path.name for path in CTRANSLATE2.found(folder, precision)}
    assert {"model.bin", "config.json", "qa_outputs.safetensors"} <= names
    encoder = ctranslate2.Encoder(str(folder / "ctranslate2" / precision), device="cpu")
    assert encoder.forward_batch([[20, 21, 22]]).last_hidden_state.shape == [1, 3, 32]
    head = load_file(folder / "ctranslate2" / precision / "qa_outputs.safetensors")
    assert {name: array.shape for name, array in head.items()} == {"weight": (2, 32), "bias": (2,)}


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ctranslate2/int8 cannot be read by CTranslate2"):
        CTRANSLATE2.open(tmp_path, "int8", TOOLS)
