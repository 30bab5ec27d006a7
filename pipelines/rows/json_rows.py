"""Lines of JSON become typed columns; a line or value that cannot be used is recorded as a fault of its row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from pipelines.corpus.formats.json_numbers import without_non_numbers
from pipelines.rows.column_cast import cast_column
from pipelines.rows.quarantine import Fault, Faults, Reason


@dataclass(frozen=True)
class JsonRows:
    """Parsed lines as a source of columns; a faulty line is an empty object."""

    rows: Sequence[dict[str, Any]]
    faults: Faults
    not_numbers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Rows with fields that hold NaN or Infinity, which are null in `rows`: row number → names of these fields."""

    def fill(self, columns: pa.Table) -> None:
        """Adds the columns that lie beside the lines, as partitions do, to the rows that have no such field."""
        for name in columns.column_names:
            for row, value in zip(self.rows, columns[name].to_pylist(), strict=True):
                row.setdefault(name, value)

    def ids(self, name: str) -> pa.ChunkedArray:
        """Strings as they are, whole numbers as text."""
        return self._column(name, pa.string(), _ids)

    def texts(self, name: str) -> pa.ChunkedArray:
        """Strings only."""
        column, errors = cast_column(self._values(name), lambda values: pa.array(values, pa.string()), pa.string())
        for row in errors:
            kind = _KINDS.get(type(self.rows[row][name]), "object")
            self.faults.add([row], Reason.WRONG_TYPE, f"{name!r} is a JSON {kind}, and a string is needed")
        return column

    def carried(self, field: pa.Field) -> pa.ChunkedArray:
        """Whatever casts to the field's type without loss."""
        return self._column(field.name, field.type, lambda values: _cast(values, field.type))

    def _column(self, name: str, type: pa.DataType, convert: Any) -> pa.ChunkedArray:
        column, errors = cast_column(self._values(name), convert, type)
        self.faults.add_each(errors, Reason.WRONG_TYPE, name)
        return column

    def _values(self, name: str) -> list[Any]:
        return [row.get(name) for row in self.rows]


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
    return JsonRows(rows, faults, not_numbers)


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


def _ids(values: Sequence[Any]) -> pa.Array:
    try:
        array = pa.array(values)
    except OverflowError:
        array = pa.array(values, pa.uint64())
    if pa.types.is_string(array.type) or pa.types.is_integer(array.type) or pa.types.is_null(array.type):
        return array.cast(pa.string())
    raise pa.ArrowTypeError(f"an id is a string or a whole number of at most 64 bits, not {array.type}")


def _cast(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    # First what they are, then a safe cast: pa.array with a type would cut 1.5 to 1 without a word.
    array = pa.array(values)
    if array.type == type:
        return array
    try:
        return array.cast(type)
    except (pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Structs with other fields than the declared ones do not cast, but can be read field by field.
        return pa.array(values, type)
