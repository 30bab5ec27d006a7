"""OpenVINO runs the files as they are; those of 16 and 8 bits are smaller, and as near to torch as they may be."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree
from xml.etree import ElementTree

import numpy as np
import openvino
import pytest

from actors.errors import ModelError
from actors.export.openvino import OPENVINO, _calibration_inputs
from tests.actors.export.conftest import TOOLS, Exported, assert_close, golden_backend, golden_batch
from tests.actors.helpers import GOLDEN

NAMES = {
    "float32": "openvino_model",
    "float16": "openvino_model_fp16",
    "int8": "openvino_model_qint8_quantized",
}
BERT = GOLDEN / "models" / "bert"
pytestmark = pytest.mark.together


@pytest.fixture(scope="module")
def folder(exported: Exported) -> Path:
    return exported("bert", OPENVINO, "float32", "float16")


def _weights(xml: Path) -> dict[str, int]:
    """How many numbers of each type lie in the .bin file, but for single ones and rows."""
    found: dict[str, int] = {}
    for layer in ElementTree.parse(xml).getroot().iterfind("layers/layer[@type='Const']/data"):
        shape = [int(size) for size in layer.attrib["shape"].split(",") if size.strip()]
        if sum(size > 1 for size in shape) > 1:
            kind = layer.attrib["element_type"]
            found[kind] = found.get(kind, 0) + int(np.prod(shape))
    return found


def test_files_have_the_names_that_others_look_for(folder: Path) -> None:
    for precision in ("float32", "float16"):
        files = [folder / "openvino" / f"{NAMES[precision]}{suffix}" for suffix in (".bin", ".xml")]
        assert OPENVINO.found(folder, precision) == files
        assert all(file.is_file() for file in files)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_inputs_and_outputs_are_as_promised(folder: Path, precision: str) -> None:
    model = openvino.Core().compile_model(folder / "openvino" / f"{NAMES[precision]}.xml", "CPU")
    assert {given.any_name for given in model.inputs} == {"input_ids", "attention_mask", "token_type_ids"}
    assert {given.element_type.to_string() for given in model.inputs} == {"i64"}
    assert [output.any_name for output in model.outputs] == ["start_logits", "end_logits", "last_hidden_state"]
    ids = np.arange(20, 40, dtype=np.int64).reshape(2, 10)
    found = model({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids})
    assert [found[output].shape for output in model.outputs] == [(2, 10), (2, 10), (2, 10, 32)]
    assert {found[output].dtype for output in model.outputs} == {np.dtype(np.float32)}


def test_weights_of_float16_are_of_16_bits(folder: Path) -> None:
    exact, half = (_weights(folder / "openvino" / f"{NAMES[name]}.xml") for name in ("float32", "float16"))
    assert exact["f32"] == half["f16"]
    assert "f16" not in exact
    assert "f32" not in half


@pytest.mark.parametrize(("precision", "atol"), [("float32", 1e-4), ("float16", 0.1)])
def test_each_is_read_back(folder: Path, precision: str, atol: float) -> None:
    assert_close(OPENVINO.open(folder, precision, TOOLS), golden_backend("bert"), golden_batch(has_types=True), atol)


def test_a_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "openvino_model.xml").write_text("no model")
    with pytest.raises(ModelError, match=r"openvino/openvino_model\.xml cannot be read by OpenVINO"):
        OPENVINO.open(tmp_path, "float32", TOOLS)


def test_only_8_bits_need_more_packages() -> None:
    form = replace(OPENVINO, packages_of={"int8": ("no_such_package",)})
    assert form.lacking(TOOLS) is None
    assert form.lacking_for("float16") is None
    says = "no_such_package is not installed here; install with pip install 'spanmill[export]'"
    assert form.lacking_for("int8") == says


@pytest.mark.skipif(find_spec("nncf") is not None, reason="nncf is installed")
def test_without_nncf_8_bits_are_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    copy = Path(copytree(folder, tmp_path / "copy"))
    with pytest.raises(ModelError, match=r"openvino in int8: nncf is not installed .* 'spanmill\[export\]'"):
        OPENVINO.write(BERT, copy, "int8", True, TOOLS)
    assert not OPENVINO.found(copy, "int8")


def test_calibration_windows_have_the_inputs_of_the_model(folder: Path) -> None:
    model = openvino.Core().read_model(folder / "openvino" / "openvino_model.xml")
    tools = replace(TOOLS, calibration=(("Who?", "Ada did."), ("Where?", "At the mill. " * 400)))
    windows = _calibration_inputs(BERT, model, tools)
    assert [window.keys() for window in windows] == [{"input_ids", "attention_mask", "token_type_ids"}] * 2
    assert [len(window["input_ids"]) for window in windows] == [1, 1]
    assert windows[1]["input_ids"].shape == (1, 384)
    assert windows[0]["token_type_ids"].max() == 1
    assert len(_calibration_inputs(BERT, model, TOOLS)) > 40


def test_calibration_without_a_tokenizer_says_so(folder: Path, tmp_path: Path) -> None:
    model = openvino.Core().read_model(folder / "openvino" / "openvino_model.xml")
    (tmp_path / "config.json").write_bytes((BERT / "config.json").read_bytes())
    with pytest.raises(ModelError, match="8 bits are chosen by texts, and it has no tokenizer; copy"):
        _calibration_inputs(tmp_path, model, TOOLS)


@pytest.mark.more
@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_8_bits_are_read_back(exported: Exported, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    folder = exported(name, OPENVINO, "float32", "int8")
    assert capfd.readouterr().out == "", "nncf prints a lot"
    assert [file.suffix for file in OPENVINO.found(folder, "int8")] == [".bin", ".xml"]
    backend = OPENVINO.open(folder, "int8", TOOLS)
    assert_close(backend, golden_backend(name), golden_batch(has_types=name == "bert"), 4.0)


@pytest.mark.more
def test_products_but_for_the_head_have_weights_of_8_bits(exported: Exported) -> None:
    folder = exported("bert", OPENVINO, "float32", "int8")
    weights = _weights(folder / "openvino" / f"{NAMES['int8']}.xml")
    layer = 4 * 32 * 32 + 2 * 32 * 64
    assert weights["i8"] >= 2 * layer
    assert weights["f32"] >= 2 * 32, "the head decides the answers"
