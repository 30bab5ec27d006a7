"""Files that appear whole or not at all."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.storage.atomic_write import create_file, replace_file


@pytest.fixture(params=[None, errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem with hard links, and those that say in their ways that they have none."""

    def refused(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    if request.param is not None:
        monkeypatch.setattr(os, "link", refused)


@pytest.mark.usefixtures("links")
def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "new" / "race"
    gate = threading.Barrier(8)

    def create(number: int) -> bool:
        gate.wait()
        return create_file(str(path), f"writer {number}".encode())

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(create, range(8)))
    assert won.count(True) == 1
    assert path.read_bytes() == f"writer {won.index(True)}".encode()
    assert [file.name for file in path.parent.iterdir()] == ["race"], "no rubbish"


def test_other_refusals_of_a_link_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(OSError, match="full"):
        create_file(str(tmp_path / "file"), b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_rubbish(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_file(str(tmp_path / "file"), b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as failing:
        failing.setattr(os, step, full)
        with pytest.raises(OSError, match="full"):
            replace_file(str(tmp_path / "file"), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"
