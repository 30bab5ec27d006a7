"""Where the commands print."""

from rich.console import Console

_NEVER_BROKEN = 10_000
"""Columns."""


def open_console(stderr: bool = False) -> Console:
    """A console as wide as its terminal; into a file or a pipe no line is broken, whoever reads it."""
    console = Console(stderr=stderr, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _NEVER_BROKEN
    return console
