"""A command in the process of a test."""

import sys

import pytest

from pipelines.cli.main import main


def exit_code(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Runs `spanmill` with these words."""
    monkeypatch.setattr(sys, "argv", ["spanmill", *words])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)
