"""Where the commands print."""

import pytest

from pipelines.console import open_console


def test_lines_into_a_pipe_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    open_console().print("out " * 200)
    open_console(stderr=True).print("[err] " * 200)
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.err.count("\n") == 1
    assert "[err] [err]" in captured.err
