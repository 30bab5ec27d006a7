"""Writes tables as Parquet or JSONL, in memory."""

import base64
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.rows.plain_arrays import plain
from pipelines.rows.spelling import in_json

METADATA_PREFIX = "spanmill."
"""Start of our keys in a Parquet footer."""


def to_parquet(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """Parquet with zstd; `metadata` goes to the footer's key-value pairs, every key with METADATA_PREFIX."""
    keyed = table.replace_schema_metadata({f"{METADATA_PREFIX}{key}": value for key, value in metadata.items()})
    sink = pa.BufferOutputStream()
    pq.write_table(keyed, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def from_parquet(data: bytes) -> pa.Table:
    """What `to_parquet` wrote, without the metadata."""
    return pq.read_table(pa.BufferReader(data)).replace_schema_metadata()


def to_jsonl(table: pa.Table) -> bytes:
    """One JSON object a line, null for null and for NaN, bytes as base64, decimals and the like as strings."""
    columns = [_values(column) for column in table.columns]
    names = table.column_names
    rows = zip(*columns, strict=True) if columns else ()
    return b"".join(orjson.dumps(dict(zip(names, row, strict=True)), default=_plain, option=_OPTIONS) for row in rows)


_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


def _values(column: pa.ChunkedArray) -> Any:
    type = column.type
    if _has_numbers(type) and all(_is_number(leaf) or pa.types.is_string(leaf) for leaf in _leaves(type)):
        return list(chain.from_iterable(_rows(chunk) for chunk in column.chunks))
    if not _has_time(type):
        try:
            return column.to_pylist()
        except (ValueError, OverflowError):
            # There are times that Arrow can hold, and Python cannot.
            pass
    return [value for chunk in column.chunks for value in in_json(plain(chunk)).to_pylist()]


def _has_numbers(type: pa.DataType) -> bool:
    """Whether it has lists of numbers at any depth that the model gives: vectors, or weights of attention."""
    if pa.types.is_list(type) or pa.types.is_fixed_size_list(type):
        return _is_number(type.value_type) or _has_numbers(type.value_type)
    return pa.types.is_struct(type) and any(_has_numbers(field.type) for field in type)


def _leaves(type: pa.DataType) -> Iterator[pa.DataType]:
    """Types of what stands in lists and structs, at any depth."""
    if pa.types.is_list(type) or pa.types.is_fixed_size_list(type):
        yield from _leaves(type.value_type)
    elif pa.types.is_struct(type):
        yield from chain.from_iterable(_leaves(field.type) for field in type)
    else:
        yield type


def _is_number(type: pa.DataType) -> bool:
    # 64 bits are as quick, and whole numbers of them may be carried: they stay on the way that they always took.
    floats, whole = (pa.float16(), pa.float32()), (pa.int8(), pa.uint8(), pa.int16(), pa.int32())
    return pa.types.is_primitive(type) and type in (*floats, *whole)


def _rows(array: pa.Array) -> Any:
    """A value for each of N rows, numbers as numpy's: a Python float for each would cost more than the model.

    Returns:
        [N, ...], or a sequence of N.
    """
    type = array.type
    if _is_number(type) and array.null_count == 0:
        return array.to_numpy(zero_copy_only=False)
    if pa.types.is_struct(type):
        children = [_rows(child) for child in array.flatten()]
        names = [field.name for field in type]
        rows: list[Any] = [dict(zip(names, values, strict=True)) for values in zip(*children, strict=True)]
    elif pa.types.is_fixed_size_list(type) and array.null_count == 0:
        elements = _rows(array.flatten())
        if isinstance(elements, np.ndarray):
            return np.ascontiguousarray(elements).reshape(len(array), type.list_size, *elements.shape[1:])
        rows = [elements[at : at + type.list_size] for at in range(0, len(elements), type.list_size)]
    elif pa.types.is_list(type):
        # Lists that are null have no elements; their offsets tell of none.
        elements = _rows(array.flatten())
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        stops = np.cumsum(lengths)
        rows = [elements[stop - length : stop] for stop, length in zip(stops.tolist(), lengths.tolist(), strict=True)]
    else:
        return array.to_pylist()
    if not array.null_count:
        return rows
    return [row if is_there else None for row, is_there in zip(rows, array.is_valid().to_pylist(), strict=True)]


def _has_time(type: pa.DataType) -> bool:
    """Whether it has times of day, of which orjson leaves out zeros: 1.05 seconds are 01.5."""
    return pa.types.is_time(type) or any(_has_time(type.field(number).type) for number in range(type.num_fields))


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
