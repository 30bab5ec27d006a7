"""Where the commands print."""

from rich.console import Console
from rich.table import Table

_NEVER_BROKEN = 10_000
"""Columns."""


def open_console(stderr: bool = False) -> Console:
    """A console as wide as its terminal; into a file or a pipe no line is broken, whoever reads it."""
    console = Console(stderr=stderr, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _NEVER_BROKEN
    return console


def two_columns() -> Table:
    """An empty table of names and figures."""
    table = Table(show_header=False, box=None)
    table.add_column()
    # A path is wanted whole: on a narrow terminal it goes on in the next line.
    table.add_column(overflow="fold")
    return table


def clock(seconds: float) -> str:
    """Seconds as a clock shows them: 1:05, or 2:01:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
