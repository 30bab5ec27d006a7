"""How programs are called."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.shell import python, relative, spanmill


def _program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_that_the_shell_finds_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = _program(tmp_path / "bin" / "spanmill")
    monkeypatch.setattr(sys, "argv", [str(called)])
    monkeypatch.setenv("PATH", f"{called.parent}:/usr/bin")
    assert spanmill() == "spanmill"


def test_a_program_beside_the_shells_folder_goes_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = _program(tmp_path / "my env" / "bin" / "spanmill")
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path)
    for argument in (str(called), "my env/bin/spanmill"):
        monkeypatch.setattr(sys, "argv", [argument])
        assert spanmill() == "'my env/bin/spanmill'"
    # Another one, that comes first, is not this one.
    monkeypatch.setenv("PATH", str(_program(tmp_path / "other" / "spanmill").parent))
    assert spanmill() == "'my env/bin/spanmill'"
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setattr(sys, "argv", [str(called)])
    assert spanmill() == f"'{called}'"


def test_from_another_program_it_is_the_command_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/notebook.py"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for program in (spanmill(), python()):
        done = subprocess.run(f"{program} --version", shell=True, capture_output=True, text=True, check=True)
        assert done.stdout.split()[0] in ("spanmill", "Python")


def test_only_local_paths_below_the_folder_are_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative(str(tmp_path / "a" / "b")) == "a/b"
    assert relative(str(tmp_path)) == "."
    for other in ("s3://bucket/a", "/", str(tmp_path.parent / "b")):
        assert relative(other) == other
