"""ONNX Runtime runs the files as they are, by the names that others look for."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from actors.errors import ModelError
from actors.export.onnx import ONNX
from tests.actors.export.conftest import TOOLS, Exported, assert_close, golden_backend, golden_batch

NAMES = {"float32": "model.onnx", "float16": "model_fp16.onnx", "int8": "model_quantized.onnx"}
pytestmark = pytest.mark.together


@pytest.fixture(scope="module")
def folder(exported: Exported) -> Path:
    return exported("bert", ONNX, "float32", "float16", "int8")


def test_files_have_the_names_that_others_look_for(folder: Path) -> None:
    assert {path.name for path in (folder / "onnx").iterdir()} == set(NAMES.values())
    for precision, name in NAMES.items():
        assert ONNX.found(folder, precision) == [folder / "onnx" / name]


@pytest.mark.parametrize("precision", NAMES)
def test_inputs_and_outputs_are_as_promised(folder: Path, precision: str) -> None:
    session = onnxruntime.InferenceSession(folder / "onnx" / NAMES[precision], providers=["CPUExecutionProvider"])
    assert {given.name for given in session.get_inputs()} == {"input_ids", "attention_mask", "token_type_ids"}
    assert {given.type for given in session.get_inputs()} == {"tensor(int64)"}
    ids = np.arange(20, 40, dtype=np.int64).reshape(2, 10)
    outputs = ["start_logits", "end_logits", "last_hidden_state"]
    assert [output.name for output in session.get_outputs()] == outputs
    ones = np.ones_like(ids)
    found = session.run(outputs, {"input_ids": ids, "attention_mask": ones, "token_type_ids": 0 * ids})
    assert [array.shape for array in found] == [(2, 10), (2, 10), (2, 10, 32)]
    assert {array.dtype for array in found} == {np.dtype(np.float32)}


def test_weights_of_float16_are_of_16_bits(folder: Path) -> None:
    exact, half = (onnx.load(str(folder / "onnx" / NAMES[name])) for name in ("float32", "float16"))
    kinds = {tensor.data_type for tensor in half.graph.initializer if len(tensor.dims) == 2}
    assert onnx.TensorProto.FLOAT not in kinds
    assert half.ByteSize() < exact.ByteSize()


@pytest.mark.parametrize(("precision", "atol"), [("float32", 1e-4), ("float16", 0.1), ("int8", 4.0)])
def test_each_is_read_back(folder: Path, precision: str, atol: float) -> None:
    assert_close(ONNX.open(folder, precision, TOOLS), golden_backend("bert"), golden_batch(has_types=True), atol)


def test_a_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"onnx/model\.onnx cannot be read by ONNX Runtime"):
        ONNX.open(tmp_path, "float32", TOOLS)
