"""Choices that a machine remembers."""

from pathlib import Path

import pytest

from actors.models import runtime_cache
from actors.models.runtime_cache import machine, remember, remembered

KEY, PACKAGES = ("model", "exact"), ("numpy", "no_such_package")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "spanmill" / "runtimes"


def test_the_last_choice_is_remembered(folder: Path) -> None:
    assert remembered(KEY, PACKAGES) is None
    for backend in ("one", "two"):
        remember(KEY, PACKAGES, {"backend": backend})
    kept = remembered(KEY, PACKAGES)
    assert kept is not None
    assert kept["choice"] == {"backend": "two"}
    assert kept["machine"] == machine()
    assert [path.suffix for path in folder.iterdir()] == [".json"], "nothing half written is left"
    assert remembered(("model", "fast"), PACKAGES) is None


@pytest.mark.parametrize("damage", ["", "{", "[1]", "\udc80"])
def test_a_damaged_file_is_ignored_and_replaced(folder: Path, damage: str) -> None:
    remember(KEY, PACKAGES, {"backend": "one"})
    [path] = folder.iterdir()
    path.write_bytes(damage.encode("utf-8", "surrogateescape"))
    assert remembered(KEY, PACKAGES) is None
    remember(KEY, PACKAGES, {"backend": "two"})
    assert remembered(KEY, PACKAGES) is not None


@pytest.mark.parametrize("what", ["machine", "release", "installed"])
def test_another_machine_or_version_has_choices_of_its_own(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    remember(KEY, PACKAGES, {"backend": "one"})
    monkeypatch.setattr(runtime_cache, what, lambda *_: "another")
    assert remembered(KEY, PACKAGES) is None


def test_where_nothing_can_be_written_nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember(KEY, PACKAGES, {"backend": "one"})
    assert remembered(KEY, PACKAGES) is None
