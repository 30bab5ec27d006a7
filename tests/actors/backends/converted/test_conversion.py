"""What cannot be converted says why, and what is written has the names that others look for."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.backends.converted.conversion import convert_ctranslate2, export_onnx
from actors.errors import ModelError
from tests.actors.backends.converted.conftest import LoadGolden


def test_a_kind_that_ctranslate2_cannot_hold_is_named(copy_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "electra"}))
    with pytest.raises(
        ModelError, match=r"is a electra, which CTranslate2 cannot hold; it knows bert, .*model\.backend"
    ):
        convert_ctranslate2(folder, tmp_path / "converted", with_qa_head=True, quantization="float32")


def test_a_folder_without_weights_is_named(copy_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of("bert")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        export_onnx(folder, tmp_path, with_qa_head=True)


def test_files_have_the_names_that_others_look_for(
    golden: LoadGolden, conversions: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="spanmill.model"):
        golden("onnxruntime", "int8", "bert")
        golden("openvino", "float32", "bert")
    assert {record.name for record in caplog.records} <= {"spanmill.model"}
    assert "[torch.onnx]" not in capfd.readouterr().out
    names = {path.parent.name.rpartition("-")[0]: path.name for path in conversions.glob("*/*.onnx")}
    assert names == {"onnx": "model.onnx", "onnx-int8": "model_quantized.onnx"}
    assert {path.suffix for path in conversions.glob("openvino-*/openvino_model.*")} == {".xml", ".bin"}
