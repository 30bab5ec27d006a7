"""Numbers and rows in sentences for people."""

from collections.abc import Mapping

_TEXT = 160
"""Characters of a value in a row."""


def row_line(row: Mapping[str, object]) -> str:
    """A row on one line: `id='q0'  answer='Ada'`, long values cut short."""
    return "  ".join(f"{name}={_short(repr(value))}" for name, value in row.items())


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `1,234 rows`. The noun is the singular of one that takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def of_lengths(windows: Mapping[int, float], digits: int) -> str:
    """Mean windows of a pass by their length in tokens: `7 of 128 tokens, 6 of 192`."""
    first, *others = (f"{mean:.{digits}f} of {width}" for width, mean in windows.items())
    return ", ".join((f"{first} tokens", *others))


def of_bytes(amount: float) -> str:
    """An amount of memory or disk: `512.0 B`, `1.5 GB`, in powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"
