"""Values that could not be written as they are, though their rows are: counted by column, and said to whoever looks."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

import orjson
import pyarrow as pa

from pipelines.config.column_types import types_as_text
from pipelines.words import counted

_KEY = b"spanmill.misfits"


class Outcome(StrEnum):
    """What is written in the place of a value. The words are stable: they are written to the output."""

    NULL = "null"
    TEXT = "text"
    DEFAULT_ID = "default_id"
    NO_NUMBER = "no_number"
    """NaN or Infinity in JSON, which has neither: null, or within a list or an object a null in its place."""


MisfitCounts = Counter[tuple[str, str]]
"""Rows by column of the input, and Outcome."""


def with_misfits(table: pa.Table, counts: MisfitCounts) -> pa.Table:
    """The table with the counts in the metadata of its schema, so that they travel with it through Arrow IPC."""
    return table.replace_schema_metadata({_KEY: misfits_to_json(counts)}) if counts else table


def misfits_of(table: pa.Table) -> MisfitCounts:
    """The counts that `with_misfits` wrote into the table's schema; none for any other table."""
    return misfits_from_json((table.schema.metadata or {}).get(_KEY, b"[]"))


def misfits_to_json(counts: Mapping[tuple[str, str], int]) -> str:
    """As a JSON array."""
    return orjson.dumps([[*key, count] for key, count in sorted(counts.items())]).decode()


def misfits_from_json(text: str | bytes) -> MisfitCounts:
    """The inverse of `misfits_to_json`."""
    return Counter({(column, outcome): count for column, outcome, count in orjson.loads(text)})


def mend(column: str, outcome: str) -> str:
    """The line of a config that keeps these values; empty where there is none."""
    return f"corpus.types: {types_as_text([column])}" if outcome in _MENDED else ""


def advice(found: Iterable[tuple[str, str]]) -> str:
    """What keeps the values of all these columns and outcomes, for people, and the line of a config that does so; empty
    where there is none. Several lines would not do: in a file, each would take the place of the one before.
    """
    mended = [(column, outcome) for column, outcome in sorted(found) if outcome in _MENDED]
    if not mended:
        return ""
    columns = list(dict.fromkeys(column for column, _ in mended))
    if any(outcome == Outcome.NULL for _, outcome in mended):
        what = f"To have {'the whole column' if len(columns) == 1 else 'these columns'} as text, start anew with:"
    else:
        what = "To say in the next job that this is meant (the OUTPUT of this one keeps the types that it has):"
    return f"{what}\n  corpus.types: {types_as_text(columns)}"


_MENDED = frozenset((Outcome.NULL, Outcome.TEXT))


def describe(column: str, outcome: str, count: int) -> str:
    """A sentence for people; `advice` has the mend."""
    values, are, hold = counted(count, "value"), *(("is", "holds") if count == 1 else ("are", "hold"))
    if outcome == Outcome.DEFAULT_ID:
        return (
            f"{column!r}: {counted(count, 'id')} of another kind than text and whole numbers; such a row has the id of "
            "a row without one, file:row or file@byte"
        )
    if outcome == Outcome.NO_NUMBER:
        return f"{column!r}: {values} {are} or {hold} NaN or Infinity, which JSON has not; null is in their place"
    if outcome == Outcome.TEXT:
        return f"{column!r}: {values} that {are} no text {are} written as text, as JSON spells such values"
    return f"{column!r}: {values} {'does' if count == 1 else 'do'} not fit the column's type and {are} null"
