"""Where the commands print."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from pipelines.console import Pairs, fitting_line, open_console


def test_lines_into_a_pipe_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    open_console().print("out " * 200)
    open_console(stderr=True).print("[err] " * 200)
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert captured.err.count("\n") == 1
    assert "[err] [err]" in captured.err


def test_no_line_into_a_pipe_ends_with_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", "value", title="figures", caption="of a job", box=None)
    table.add_row("a", "1")
    table.add_row("longer", "")
    for stderr in (False, True):
        open_console(stderr).print(table)
        open_console(stderr).print("\n a \t\n\n  ")
    captured = capsys.readouterr()
    assert captured.out == captured.err
    lines = captured.out.splitlines()
    assert [line.rstrip() for line in lines] == lines
    assert lines[-3:] == [" a", "", ""]


def _shown(pairs: Pairs, width: int) -> list[str]:
    screen = io.StringIO()
    pairs.print_to(Console(file=screen, width=width))
    return screen.getvalue().splitlines()


def test_sentences_are_broken_between_words_and_paths_never() -> None:
    pairs = Pairs()
    pairs.add("rows", "7")
    pairs.add("guilty", "one row broke the model")
    pairs.add_whole("output", "/a path/" + "x" * 40)
    pairs.add("why", "y" * 40 + " is not there")
    assert _shown(pairs, 30) == [
        "rows    7",
        "guilty  one row broke the",
        "        model",
        "output  /a path/" + "x" * 40,
        "why     " + "y" * 40,
        "        is not there",
    ]
    assert _shown(pairs, 200)[1] == "guilty  one row broke the model"
    assert _shown(Pairs(), 80) == []


@pytest.mark.parametrize(
    ("width", "line"), [(12, "aaa · 読 · b"), (11, "aaa · 読"), (8, "aaa · 読"), (7, "aaa"), (1, "aaa")]
)
def test_a_line_has_the_parts_that_fit(width: int, line: str) -> None:
    assert fitting_line(("aaa", "読", "b"), width).plain == line
