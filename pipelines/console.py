"""Consoles that the commands print to, and the formats that they share."""

import io
import re
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_UNWRAPPED_WIDTH = 10_000
"""Columns."""
_NARROWEST = 20
"""Columns that a sentence has at least."""
_BLANKS = re.compile(r"[ \t]+\n")
_BETWEEN = " · "
"""Parts of a line."""
_GAP = "  "
"""Name and value."""


def open_console(stderr: bool = False) -> Console:
    """A console as wide as its terminal; lines of a file or a pipe are never wrapped, nor filled with blanks."""
    console = Console(stderr=stderr, highlight=False, markup=False)
    if console.is_terminal:
        return console
    return Console(file=_Piped(stderr), width=_UNWRAPPED_WIDTH, highlight=False, markup=False)


class _Piped(io.StringIO):
    """stdout or stderr, whatever it is at the time, without the blanks that fill the lines of a table."""

    def __init__(self, stderr: bool) -> None:
        self._stderr = stderr

    def write(self, text: str) -> int:
        self._stream.write(_BLANKS.sub("\n", text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._stderr else sys.stdout


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


@dataclass
class Pairs:
    """Names and values, one below the other.

    A sentence goes on in the next line, below its beginning. A path or a command is never broken, so that whoever
    copies it from the terminal, which breaks what it has no room for, gets it as one line.
    """

    _rows: list[tuple[str, str, bool]] = field(default_factory=list)

    def add(self, name: str, value: str) -> None:
        """Adds a value that may be broken between words."""
        self._rows.append((name, value, False))

    def add_whole(self, name: str, value: str) -> None:
        """Adds a path or a command."""
        self._rows.append((name, value, True))

    def print_to(self, console: Console) -> None:
        """Prints all of them."""
        indent = max((cell_len(name) for name, _, _ in self._rows), default=0) + len(_GAP)
        for name, value, is_whole in self._rows:
            width = max(console.width - indent, _NARROWEST)
            wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
            beside = f"{name:{indent}}"
            for line in value.split("\n"):
                # Blanks within a line may stand for columns.
                fits = is_whole or cell_len(line) <= width
                for part in [line] if fits else wrapper.wrap(line):
                    console.print(f"{beside}{part}", soft_wrap=True)
                    beside = " " * indent


def clock(seconds: float) -> str:
    """Seconds as [hours:]minutes:seconds, for example 1:05 or 2:01:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
