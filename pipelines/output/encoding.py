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

from actors.engine.output_columns import OUTPUT_COLUMNS
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
    names = table.column_names
    columns = [_values(column, name) for name, column in zip(names, table.columns, strict=True)]
    rows = zip(*columns, strict=True) if columns else ()
    return b"".join(orjson.dumps(dict(zip(names, row, strict=True)), default=_plain, option=_OPTIONS) for row in rows)


_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_MODEL_COLUMNS = frozenset(column.name for column in OUTPUT_COLUMNS)


def _values(column: pa.ChunkedArray, name: str) -> Any:
    type = column.type
    # A float32 of numpy's is written shorter than a Python float of it, so whether carried lists take this way must
    # follow from their type alone: a column looks the same in all parts of a job, those of earlier versions too.
    is_matrix = pa.types.is_fixed_size_list(type) and pa.types.is_floating(type.value_type)
    if is_matrix or (name in _MODEL_COLUMNS and _is_of_numbers(type)):
        return list(chain.from_iterable(_rows(chunk) for chunk in column.chunks))
    if not _has_time(type):
        try:
            return column.to_pylist()
        except (ValueError, OverflowError):
            # There are times that Arrow can hold, and Python cannot.
            pass
    return [value for chunk in column.chunks for value in in_json(plain(chunk)).to_pylist()]


def _is_of_numbers(type: pa.DataType) -> bool:
    return _has_numbers(type) and all(_is_number(leaf) or pa.types.is_string(leaf) for leaf in _leaves(type))


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
    # Answers have numbers of 64 bits, which are as quick as Python's.
    floats, whole = (pa.float16(), pa.float32()), (pa.int8(), pa.uint8(), pa.int16(), pa.int32())
    return pa.types.is_primitive(type) and type in (*floats, *whole)


def _rows(array: pa.Array) -> Any:
    """A value for each of N rows, numbers as numpy's: a Python float for each would cost more than the model.

    Returns:
        [N, ...], or a sequence of N.
    """
    type = array.type
    if pa.types.is_floating(type) or (_is_number(type) and array.null_count == 0):
        # NaN for null, and both are written as null.
        return array.to_numpy(zero_copy_only=False)
    if not pa.types.is_nested(type):
        return array.to_pylist()
    if array.null_count:
        there = iter(_rows(array.drop_null()))
        return [next(there) if is_there else None for is_there in array.is_valid().to_pylist()]
    if pa.types.is_struct(type):
        children = [_rows(child) for child in array.flatten()]
        names = [field.name for field in type]
        return [dict(zip(names, values, strict=True)) for values in zip(*children, strict=True)]
    elements = _rows(array.flatten())
    if pa.types.is_fixed_size_list(type):
        if isinstance(elements, np.ndarray):
            return np.ascontiguousarray(elements).reshape(len(array), type.list_size, *elements.shape[1:])
        return [elements[at : at + type.list_size] for at in range(0, len(elements), type.list_size)]
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    stops = np.cumsum(lengths)
    return [elements[stop - length : stop] for stop, length in zip(stops.tolist(), lengths.tolist(), strict=True)]


def _has_time(type: pa.DataType) -> bool:
    """Whether it has times of day, of which orjson leaves out zeros: 1.05 seconds are 01.5."""
    return pa.types.is_time(type) or any(_has_time(type.field(number).type) for number in range(type.num_fields))


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
