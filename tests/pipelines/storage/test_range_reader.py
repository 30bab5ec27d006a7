"""Byte ranges come whole, or the error says what is short."""

import io
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
import tenacity.nap

from pipelines.errors import StorageError
from pipelines.storage.range_reader import RangeFile, read_range


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = tmp_path / "digits"
    path.write_bytes(b"0123456789")
    return str(path)


def test_ranges(path: str) -> None:
    fs = fsspec.filesystem("file")
    assert read_range(fs, path, 2, 5) == b"234"
    assert read_range(fs, path, 5, 5) == b""


def test_a_file_reads_and_seeks(path: str) -> None:
    file = RangeFile(fsspec.filesystem("file"), path, 10)
    assert file.readable()
    assert file.seekable()
    assert file.read(3) == b"012"
    assert file.seek(-2, io.SEEK_END) == 8
    assert file.read() == b"89"
    assert file.read(5) == b""
    file.seek(1)
    assert file.seek(1, io.SEEK_CUR) == 2
    assert io.BufferedReader(file, 4).read(6) == b"234567"


def test_a_file_that_became_shorter(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda seconds: None))
    with pytest.raises(StorageError, match="got 2 of 12 bytes at byte 8"):
        read_range(fsspec.filesystem("file"), path, 8, 20)


def test_a_server_without_ranges() -> None:
    fs = SimpleNamespace(cat_file=lambda path, start, end: b"the whole file")
    with pytest.raises(StorageError, match="ignores byte ranges"):
        read_range(fs, "http://host/file", 0, 3)
