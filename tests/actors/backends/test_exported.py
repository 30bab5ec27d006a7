"""The record of an exported folder is read as it was written, and a spoilt one says so."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from actors.backends.exported import (
    EXPORT_RECORD,
    EXPORT_VERSION,
    ExportedFile,
    ExportedForm,
    ExportRecord,
    LeftOutForm,
    read_export,
    write_export,
)
from actors.errors import ModelError

RECORD = ExportRecord(
    version=EXPORT_VERSION,
    fingerprint="ab" * 32,
    has_qa_head=True,
    forms=(
        ExportedForm(
            "onnx", "int8", (ExportedFile("onnx/model_quantized.onnx", 12, "cd" * 32),), {"rows": 3, "f1": None}
        ),
        ExportedForm("rust", "float32", (ExportedFile("rust_model.ot", 7, "ef" * 32),)),
    ),
    left_out=(LeftOutForm("openvino", "int8", "too far off"),),
    source="minilm-qa",
    versions={"torch": "2.13.0"},
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_export(tmp_path, RECORD)
    assert read_export(tmp_path) == RECORD
    assert RECORD.form("onnx", "int8") == RECORD.forms[0]
    assert RECORD.form("onnx", "float32") is None


def test_a_folder_without_one_is_no_export(tmp_path: Path) -> None:
    assert read_export(tmp_path) is None


def test_fields_of_a_later_release_are_passed_over(tmp_path: Path) -> None:
    write_export(tmp_path, RECORD)
    tree = json.loads((tmp_path / EXPORT_RECORD).read_text())
    (tmp_path / EXPORT_RECORD).write_text(json.dumps(tree | {"colour": "red"}))
    assert read_export(tmp_path) == RECORD


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Invalid JSON"),
        ("[]", "export the model again"),
        (
            json.dumps({"version": 1, "fingerprint": "", "has_qa_head": True, "forms": [{"name": "onnx"}]}),
            "forms.0.precision",
        ),
    ],
)
def test_a_spoilt_one_names_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / EXPORT_RECORD).write_text(text)
    with pytest.raises(ModelError, match=f"{EXPORT_RECORD}.*{says}"):
        read_export(tmp_path)


def test_another_version_is_of_a_later_spanmill(tmp_path: Path) -> None:
    write_export(tmp_path, replace(RECORD, version=EXPORT_VERSION + 1))
    with pytest.raises(ModelError, match="later Spanmill"):
        read_export(tmp_path)
