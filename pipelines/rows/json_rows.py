"""Lines of JSON become typed columns; a line or value that cannot be used is recorded as a fault of its row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipelines.corpus.formats.json_numbers import without_non_numbers
from pipelines.corpus.formats.jsonl_stream import exact_object
from pipelines.rows.column_cast import cast_column
from pipelines.rows.column_fit import Bools, Fitted, fit_values
from pipelines.rows.ids import id_texts_of_values
from pipelines.rows.quarantine import Fault, Faults, Reason


@dataclass(frozen=True)
class JsonRows:
    """Parsed lines as a source of columns; a faulty line is an empty object."""

    rows: Sequence[dict[str, Any]]
    faults: Faults
    lines: Sequence[bytes]
    """What the rows were parsed from."""
    not_numbers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Rows with fields that hold NaN or Infinity, which are null in `rows`: row number → names of these fields."""

    def fill(self, columns: pa.Table) -> None:
        """Adds the columns that lie beside the lines, as partitions do, to the rows that have no such field."""
        for name in columns.column_names:
            for row, value in zip(self.rows, columns[name].to_pylist(), strict=True):
                row.setdefault(name, value)

    def ids(self, name: str) -> tuple[pa.ChunkedArray, Bools]:
        """Ids as text, null where there is none, and [N] which values are no ids (`rows.ids`)."""
        texts, refused = id_texts_of_values(self._exact_values(name))
        return pa.chunked_array([texts]), refused

    def texts(self, name: str) -> pa.ChunkedArray:
        """Strings only."""
        values = [row.get(name) for row in self.rows]
        column, errors = cast_column(values, lambda some: pa.array(some, pa.string()), pa.string())
        for row in errors:
            kind = _KINDS.get(type(self.rows[row][name]), "object")
            self.faults.add([row], Reason.WRONG_TYPE, f"{name!r} is a JSON {kind}, and a string is needed")
        return column

    def carried(self, field: pa.Field) -> Fitted:
        """The values that fit the field's type, and which do not."""
        return fit_values(self._exact_values(field.name), field.type)

    def no_numbers(self, name: str) -> Bools:
        """[N] whether the field held NaN or Infinity, in whose place there is null."""
        flags = np.zeros(len(self.rows), bool)
        flags[np.array([row for row, names in self.not_numbers.items() if name in names], int)] = True
        return flags

    def _exact_values(self, name: str) -> list[Any]:
        """Values with integers of any length, of which the fast parser makes doubles."""
        values = [row.get(name) for row in self.rows]
        for number, value in enumerate(values):
            if value.__class__ in _MAY_HOLD_DOUBLES and _holds_large(value):
                values[number] = exact_object(self.lines[number], self.rows[number])[name]
        return values


def parse_lines(lines: Sequence[bytes], faults: Faults, max_bytes: int) -> JsonRows:
    """The object of every line; lines without one are added to `faults`, and those of more than `max_bytes`."""
    rows: list[dict[str, Any]] = []
    not_numbers: dict[int, tuple[str, ...]] = {}
    for number, line in enumerate(lines):
        if len(line) > max_bytes:
            faults.by_row[number] = _too_long(max_bytes)
            rows.append({})
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            found = _diagnosed(line, error)
            if isinstance(found, Fault):
                faults.by_row[number] = found
                value = {}
            else:
                value, not_numbers[number] = found
        if not isinstance(value, dict):
            faults.by_row[number] = Fault(Reason.NOT_AN_OBJECT, f"a JSON {_KINDS[type(value)]}, not an object")
            value = {}
        rows.append(value)
    return JsonRows(rows, faults, lines, not_numbers)


_MAY_HOLD_DOUBLES = frozenset((float, list, dict))


def _holds_large(value: Any) -> bool:
    """Whether there is a double in it that may have been an integer beyond 64 bits; False for what nests too deeply for
    a look, and is text whatever it holds.
    """
    try:
        return _holds_large_inside(value)
    except RecursionError:
        return False


def _holds_large_inside(value: Any) -> bool:
    if isinstance(value, float):
        return abs(value) >= 2.0**63
    if isinstance(value, list):
        return any(map(_holds_large_inside, value))
    return isinstance(value, dict) and any(map(_holds_large_inside, value.values()))


_KINDS = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}


def _too_long(max_bytes: int) -> Fault:
    return Fault(
        Reason.LINE_TOO_LONG,
        f"no line end within {max_bytes:,} bytes: is this JSON Lines? A row that is meant needs a higher "
        "corpus.max_text_bytes (a line may have 16 times that)",
    )


def _diagnosed(line: bytes, error: orjson.JSONDecodeError) -> Fault | tuple[dict[str, Any], tuple[str, ...]]:
    """What is wrong with a line that the fast parser refuses; the object without them where it is NaN and Infinity."""
    try:
        text = line.decode()
    except UnicodeDecodeError as decoding:
        return Fault(Reason.INVALID_UTF8, f"byte {decoding.start} of the line: {decoding.reason}")
    try:
        # The standard parser lets lone surrogates through (and NaN, and more), and so tells them from bad syntax.
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError as encoding:
        surrogate = ord(encoding.object[encoding.start])
        return Fault(Reason.LONE_SURROGATE, f"half of a surrogate pair, \\u{surrogate:04x}, stands alone")
    except (ValueError, RecursionError):
        return Fault(Reason.MALFORMED_JSON, str(error))
    return without_non_numbers(text) or Fault(Reason.MALFORMED_JSON, str(error))
