"""Where the commands print."""

import pytest

from pipelines.console import fitting_line, open_console


def test_lines_into_a_pipe_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    open_console().print("out " * 200)
    open_console(stderr=True).print("[err] " * 200)
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.err.count("\n") == 1
    assert "[err] [err]" in captured.err


@pytest.mark.parametrize(
    ("width", "line"), [(12, "aaa · 読 · b"), (11, "aaa · 読"), (8, "aaa · 読"), (7, "aaa"), (1, "aaa")]
)
def test_a_line_has_the_parts_that_fit(width: int, line: str) -> None:
    assert fitting_line(("aaa", "読", "b"), width).plain == line
