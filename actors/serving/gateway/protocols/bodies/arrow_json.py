"""Arrow columns as JSON text, a column at a time: no Python object is made for a number, nor for most texts.

Other threads run meanwhile, or after some milliseconds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Ints

_AT_ONCE = 1 << 16
"""Numbers that are written while no other thread runs: some milliseconds."""
_ESCAPED = r'["\\\x00-\x1f]'
"""Characters that stand in no JSON string as they are (RFC 8259, section 7)."""


def rows_json(table: pa.Table) -> bytes:
    """A JSON list of objects, one for each row of the table, with its columns as fields.

    Floats have the fewest digits that tell them from their neighbours in float32 (float16 is written as float32, too)
    or float64. NaN and infinities have no place in JSON, and must not be in the table.

    Raises:
        TypeError: a column is of a type that has no form here.
    """
    columns = [column.combine_chunks() for column in table.columns]
    if not columns:
        return b"[" + b",".join([b"{}"] * table.num_rows) + b"]"
    return _bytes(_list_text(_object_text(table.column_names, columns, table.num_rows)))


def list_json(values: pa.Array) -> bytes:
    """A JSON list of the values.

    Raises:
        TypeError: as `rows_json`.
    """
    return _bytes(_lists_text(np.array([0, len(values)], np.int32), values))


def json_text(values: pa.Array) -> pa.StringArray:
    """[n] JSON text of every value, "null" for nulls.

    Raises:
        TypeError: as `rows_json`.
    """
    text = _text(values)
    return text if not values.null_count else pc.if_else(values.is_valid(), text, "null")


def _text(values: pa.Array) -> pa.StringArray:
    """As `json_text`, with anything at all where a value is null."""
    kind = values.type
    if pa.types.is_float16(kind):
        return pc.cast(pc.cast(values, pa.float32()), pa.string())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return pc.cast(values, pa.string())
    if pa.types.is_string(kind):
        return _quoted(values)
    if pa.types.is_struct(kind):
        fields = [values.field(index) for index in range(kind.num_fields)]
        return _object_text([field.name for field in kind], fields, len(values))
    if pa.types.is_list(kind):
        first = values.offsets[0].as_py()
        own = values.values.slice(first, values.offsets[-1].as_py() - first)
        return _lists_text(np.asarray(values.offsets) - first, own)
    if pa.types.is_fixed_size_list(kind):
        own = values.values.slice(values.offset * kind.list_size, len(values) * kind.list_size)
        return _lists_text(np.arange(len(values) + 1, dtype=np.int32) * np.int32(kind.list_size), own)
    raise TypeError(f"{kind} has no form in JSON here")


def _quoted(values: pa.StringArray) -> pa.StringArray:
    quoted = pc.binary_join_element_wise('"', values, '"', "")
    special = pc.fill_null(pc.match_substring_regex(values, _ESCAPED), False)
    if not pc.any(special).as_py():
        return quoted
    written = [orjson.dumps(text).decode() for text in values.filter(special).to_pylist()]
    return pc.replace_with_mask(quoted, special, pa.array(written, pa.string()))


def _object_text(names: Sequence[str], fields: Sequence[pa.Array], rows: int) -> pa.StringArray:
    parts: list[object] = []
    for name, field in zip(names, fields, strict=True):
        parts += [("," if parts else "{") + orjson.dumps(name).decode() + ":", json_text(field)]
    if not parts:
        return pa.array(["{}"] * rows, pa.string())
    return pc.binary_join_element_wise(*parts, "}", "")


def _lists_text(offsets: Ints, values: pa.Array) -> pa.StringArray:
    """Of lists that own values `offsets[i]` to `offsets[i + 1]`."""
    kind = values.type
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not values.null_count:
        joined = _joined_numbers(offsets, values.to_numpy(zero_copy_only=True))
    else:
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), json_text(values)), ",")
    return pc.binary_join_element_wise("[", joined, "]", "")


def _joined_numbers(offsets: Ints, numbers: npt.NDArray[np.number[Any]]) -> pa.StringArray:
    """The numbers of every list with commas between them, cut from the text of all numbers."""
    pieces = [numbers[i : i + _AT_ONCE] for i in range(0, len(numbers), _AT_ONCE)]
    text = b"".join(orjson.dumps(piece, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] + b"," for piece in pieces)
    begins = np.concatenate([[0], np.flatnonzero(np.frombuffer(text, np.uint8) == ord(",")) + 1])
    bounds = pa.py_buffer(begins[offsets].astype(np.int32))
    return pc.ascii_rtrim(pa.StringArray.from_buffers(len(offsets) - 1, bounds, pa.py_buffer(text)), ",")


def _list_text(texts: pa.StringArray) -> pa.StringArray:
    """[1] a list of all."""
    lists = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")


def _bytes(text: pa.StringArray) -> bytes:
    """Of an array of one text, without a Python string on the way."""
    start, stop = np.frombuffer(text.buffers()[1], np.int32)[text.offset :][:2].tolist()
    return memoryview(text.buffers()[2])[start:stop].tobytes()
