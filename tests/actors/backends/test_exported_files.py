"""Files of an export are those that were exported, or are named."""

from hashlib import sha256
from pathlib import Path

import pytest

from actors.backends.exported import ExportedFile
from actors.backends.exported_files import check_files, place_of
from actors.errors import ModelError


def _file(path: str, data: bytes = b"data") -> ExportedFile:
    return ExportedFile(path, len(data), sha256(data).hexdigest())


def test_a_file_is_as_it_was_or_named_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    for name in ("one", "two"):
        (tmp_path / "onnx" / name).write_bytes(b"data")
    files = [_file("onnx/one"), _file("onnx/two")]
    check_files(tmp_path, files)
    (tmp_path / "onnx/two").write_bytes(b"date")
    with pytest.raises(
        ModelError, match=r"onnx/two is not what was exported: its SHA-256 begins with \w{12}, not \w{12}"
    ):
        check_files(tmp_path, files)
    (tmp_path / "onnx/two").write_bytes(b"data!")
    with pytest.raises(ModelError, match=r"onnx/two is not what was exported: it has 5 bytes, not 4"):
        check_files(tmp_path, files)
    (tmp_path / "onnx/two").unlink()
    with pytest.raises(ModelError, match=r"onnx/two is missing, which _export\.json lists"):
        check_files(tmp_path, files)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other", "onnx/../../other", "..\\other", "on\0nx", ""])
def test_a_record_that_leads_out_of_its_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ModelError, match=r"_export\.json: .* is no file below the folder"):
        place_of(tmp_path, _file(path))
