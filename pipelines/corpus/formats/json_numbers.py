"""Numbers that JSON has not: NaN, Infinity and numbers beyond a double, as other writers leave them, become null."""

import json
import math
from collections.abc import Iterator
from typing import Any


def without_non_numbers(text: str) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """A JSON object with null in the place of NaN, Infinity and -Infinity at any depth, and the fields that hold some.

    None where it is no object, or has none of them.

    Raises:
        ValueError: it is no JSON besides.
    """
    try:
        row = json.loads(text)
        names = tuple(_holders(row)) if isinstance(row, dict) else ()
    except RecursionError:
        return None
    return ({**row, **{name: _mended(row[name]) for name in names}}, names) if names else None


def _holders(row: dict[str, Any]) -> Iterator[str]:
    return (name for name, value in row.items() if _holds(value))


def _holds(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, list):
        return any(map(_holds, value))
    return isinstance(value, dict) and any(map(_holds, value.values()))


def _mended(value: Any) -> Any:
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {name: _mended(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
