"""Consoles that the commands print to, and the formats that they share."""

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNWRAPPED_WIDTH = 10_000
"""Columns."""
_BETWEEN = " · "
"""Parts of a line."""


def open_console(stderr: bool = False) -> Console:
    """A console as wide as its terminal; lines that go to a file or a pipe are never wrapped."""
    console = Console(stderr=stderr, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _UNWRAPPED_WIDTH
    return console


def fitting_line(parts: Iterable[str], width: int) -> Text:
    """A line of parts, the most important first: those that do not fit into the width are left out.

    Args:
        parts: at least one.
        width: columns of the terminal.
    """
    first, *others = parts
    line = Text(first, no_wrap=True, overflow="ellipsis")
    for part in others:
        if cell_len(line.plain) + cell_len(_BETWEEN + part) > width:
            break
        line.append(_BETWEEN + part)
    return line


def two_columns() -> Table:
    """An empty table without a header, for names and values."""
    table = Table(show_header=False, box=None)
    table.add_column()
    # On a narrow terminal a path is folded into the next line and not cut short.
    table.add_column(overflow="fold")
    return table


def clock(seconds: float) -> str:
    """Seconds as [hours:]minutes:seconds, for example 1:05 or 2:01:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
