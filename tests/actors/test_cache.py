"""Folders that are there whole or not at all."""

import os
import time
from pathlib import Path

import pytest

from actors.cache import cache_folder, make_folder, replace_file


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("models") == tmp_path / "spanmill" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder("models") == Path("~/.cache/spanmill/models").expanduser()


def test_another_that_was_faster_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"

    def write(place: Path) -> None:
        (place / "mine").touch()
        target.mkdir()
        (target / "theirs").touch()

    make_folder(target, write)
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        (place / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_folder(tmp_path / "target", fail)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path: Path) -> None:
    for name, hours in ((".partial-old", 25), (".partial-new", 23)):
        (tmp_path / name / "deep").mkdir(parents=True)
        then = time.time() - hours * 3600
        os.utime(tmp_path / name / "deep", (then, then))
        os.utime(tmp_path / name, (then, then))
    make_folder(tmp_path / "target", lambda place: None)
    assert {path.name for path in tmp_path.iterdir()} == {".partial-new", "target"}


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    file = tmp_path / "new" / "kept.json"
    for data in (b"one", b"two"):
        replace_file(file, data)
        assert file.read_bytes() == data
    with pytest.raises(TypeError):
        replace_file(file, "no bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"two"
    assert list(file.parent.iterdir()) == [file], "nothing half written is left"
