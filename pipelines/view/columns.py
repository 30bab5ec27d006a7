"""The columns of an output that can be listed, sorted and searched, and those that only one row shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Kind = Literal["text", "number", "boolean", "time", "bytes", "nested"]
"""What the page does with a column: nested ones are shown as JSON, and can be searched but not sorted."""

ANSWERS = "answers"
BEST_ANSWER = {"answer": pa.string(), "score": pa.float64(), "start": pa.int32(), "end": pa.int32()}
"""Fields of the structs in `answers`, which stand for the columns of the same names: those of the best answer."""


@dataclass(frozen=True)
class ViewColumn:
    """A column of the list of rows."""

    name: str
    """As people see it. It never becomes part of SQL."""
    kind: Kind
    expression: str
    """SQL that gives it from the columns c0, c1 ... of the parts, which are numbered in their order."""
    searched: str
    """SQL of the text that a search looks through, over the same columns; empty where it looks through none."""
    clock: Literal["moment", "time", "duration"] = "moment"
    """Of the kind time: a date or a moment, a time of day, or a length of time, which DuckDB holds by the part's
    format."""


@dataclass(frozen=True)
class PartColumns:
    """The columns of the parts of one output."""

    schema: pa.Schema
    listed: tuple[ViewColumn, ...]
    """What the list of rows has; `v0`, `v1` ... in SQL, and their searched texts `s0`, `s1` ..."""
    heavy: tuple[str, ...]
    """Names of columns that are read only where one row is looked at: vectors, tokens, attention."""
    characters: int = 300
    """Of a text that the list shows."""
    vectors: str = ""
    """The heavy column that is listed as `vector` all the same, because two outputs are compared by it."""

    @classmethod
    def of(cls, schema: pa.Schema, carried: frozenset[str]) -> "PartColumns":
        """Sorts the columns of the parts: what the job added and is nested is heavy, all others are listed.

        Args:
            schema: of the parts.
            carried: names of the columns that came from the input.
        """
        listed: list[ViewColumn] = []
        heavy: list[str] = []
        for number, field in enumerate(schema):
            is_carried = field.name in carried
            if field.name == ANSWERS and not is_carried:
                listed += _best_answer(f"c{number}")
            elif not is_carried and pa.types.is_nested(field.type):
                heavy.append(field.name)
            else:
                listed.append(_column(field, f"c{number}"))
        return cls(schema, tuple(listed), tuple(heavy))

    @property
    def light(self) -> list[str]:
        """Names of the parts' columns without the heavy ones."""
        return [name for name in self.schema.names if name not in self.heavy]

    @property
    def read(self) -> list[str]:
        """Names of the parts' columns that `selected` speaks of."""
        return [name for name in self.schema.names if name not in self.heavy or name == self.vectors]

    def index(self, name: str) -> int | None:
        """Number of a listed column; None where there is no such column."""
        return next((number for number, column in enumerate(self.listed) if column.name == name), None)

    def selected(self) -> str:
        """SQL of all listed columns and searched texts, as `v0`, `s0`, `v1` ..."""
        return ", ".join(self._selected())

    def _selected(self) -> Iterator[str]:
        for number, column in enumerate(self.listed):
            yield f"{column.expression} AS v{number}"
            if column.searched:
                yield f"{column.searched} AS s{number}"
        if self.vectors:
            yield f"c{self.schema.get_field_index(self.vectors)} AS vector"


def _column(field: pa.Field, name: str) -> ViewColumn:
    kind = _kind(field.type)
    searched = {"text": name, "nested": f"CAST(to_json({name}) AS VARCHAR)"}.get(kind, "")
    return ViewColumn(field.name, kind, name, searched, _clock(field.type))


def _best_answer(name: str) -> Iterator[ViewColumn]:
    every = f"array_to_string(list_transform({name}, lambda one: one.answer), chr(10))"
    for field in BEST_ANSWER:
        kind: Kind = "text" if field == "answer" else "number"
        yield ViewColumn(field, kind, f'{name}[1]."{field}"', every if field == "answer" else "")


def _clock(type: pa.DataType) -> Literal["moment", "time", "duration"]:
    if pa.types.is_dictionary(type):
        return _clock(type.value_type)
    if pa.types.is_time(type):
        return "time"
    return "duration" if pa.types.is_duration(type) or pa.types.is_interval(type) else "moment"


def _kind(type: pa.DataType) -> Kind:
    types = pa.types
    if types.is_string(type) or types.is_large_string(type) or types.is_string_view(type):
        return "text"
    if types.is_dictionary(type):
        return _kind(type.value_type)
    if types.is_integer(type) or types.is_floating(type) or types.is_decimal(type):
        return "number"
    if types.is_boolean(type):
        return "boolean"
    if types.is_temporal(type):
        return "time"
    if types.is_binary(type) or types.is_large_binary(type) or types.is_fixed_size_binary(type):
        return "bytes"
    return "nested" if types.is_nested(type) else "text"
