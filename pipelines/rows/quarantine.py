"""The quarantine: why a row cannot be answered or embedded, and what of it is written there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from actors.errors import escape_surrogates
from pipelines.corpus.formats.base import LINE, RAW_COLUMNS
from pipelines.schemas import QUARANTINE_SCHEMA

ROW_CHARACTERS = 2000
"""What is kept of a bad row's text."""

DETAIL_CHARACTERS = 500
"""What is kept of the words on what is wrong."""

# No character of UTF-8 takes more bytes, so this much of a value is enough to fill ROW_CHARACTERS.
_VALUE_BYTES = 4 * ROW_CHARACTERS


class Reason(StrEnum):
    """Why a row is in quarantine. The words are stable: they are written to the output."""

    MALFORMED_JSON = "malformed_json"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_UTF8 = "invalid_utf8"
    LONE_SURROGATE = "lone_surrogate"
    LINE_TOO_LONG = "line_too_long"
    WRONG_TYPE = "wrong_type"
    NULL_QUESTION = "null_question"
    EMPTY_QUESTION = "empty_question"
    NULL_CONTEXT = "null_context"
    EMPTY_CONTEXT = "empty_context"
    NULL_TEXT = "null_text"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    NO_TOKENS = "no_tokens"
    QUESTION_TOO_LONG = "question_too_long"
    UNREADABLE = "unreadable"
    CRASHED = "crashed"
    FAILED = "failed"


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row."""

    reason: Reason
    detail: str
    """For people; cut to 500 characters."""


@dataclass
class Faults:
    """The first fault of every bad row of one shard, by row number."""

    by_row: dict[int, Fault] = field(default_factory=dict)

    def add(self, rows: Iterable[int], reason: Reason, detail: str) -> None:
        """One fault of many rows."""
        for row in rows:
            self.by_row.setdefault(row, Fault(reason, detail))

    def add_each(self, details: Mapping[int, str], reason: Reason, column: str) -> None:
        """A fault of its own for every row, all in one column."""
        for row, detail in details.items():
            self.by_row.setdefault(row, Fault(reason, f"{column!r}: {detail}"))


def quarantine_rows(
    table: pa.Table, ids: pa.ChunkedArray, places: pa.ChunkedArray, file_name: str, faults: Mapping[int, Fault]
) -> pa.Table:
    """The faulty rows as a table of QUARANTINE_SCHEMA, in order.

    `faults` is by row number in `table`; `ids` (string) and `places` (int64) have the table's rows. The kept text is
    the LINE column where there is one, else the row's columns as a JSON object.
    """
    numbers = sorted(faults)
    if not numbers:
        return QUARANTINE_SCHEMA.empty_table()
    chosen = pa.array(numbers, pa.int64())
    return pa.table(
        [
            ids.take(chosen),
            pa.array([file_name] * len(numbers)),
            places.take(chosen),
            pa.array([faults[number].reason.value for number in numbers]),
            pa.array([escape_surrogates(faults[number].detail)[:DETAIL_CHARACTERS] for number in numbers]),
            pa.array(_texts(table.take(chosen)), pa.string()),
        ],
        schema=QUARANTINE_SCHEMA,
    )


def _texts(rows: pa.Table) -> list[str]:
    if LINE in rows.column_names:
        return [_escaped(line)[:ROW_CHARACTERS] for line in _cut_bytes(rows[LINE])]
    names = [name for name in rows.column_names if name not in RAW_COLUMNS]
    values = zip(*(_values(rows[name]) for name in names), strict=True)
    # orjson's own times of day lack zeros.
    option = orjson.OPT_PASSTHROUGH_DATETIME
    texts = (orjson.dumps(dict(zip(names, row, strict=True)), default=str, option=option).decode() for row in values)
    return [text[:ROW_CHARACTERS] for text in texts]


def _values(column: pa.ChunkedArray) -> list[object]:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [None if value is None else _escaped(value) for value in _cut_bytes(column)]
    try:
        values: list[object] = column.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError):
        # Strings inside nested values that are not UTF-8, or times that Python cannot hold.
        return ["(not shown)"] * len(column)
    return values


def _cut_bytes(column: pa.ChunkedArray) -> list[bytes]:
    large = pa.chunked_array([chunk.cast(pa.large_binary()) for chunk in column.chunks], pa.large_binary())
    values: list[bytes] = pc.binary_slice(large, 0, _VALUE_BYTES).to_pylist()
    return values


def _escaped(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
