"""Numbers in sentences for people."""


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `1,234 rows`. The noun is the singular of one that takes an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
