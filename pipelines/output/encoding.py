"""Writes tables as Parquet or JSONL, in memory."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
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
    if pa.types.is_fixed_size_list(type) and column.null_count == 0:
        # Rows of one matrix: a Python float for each of some hundred numbers a row would cost more than the model.
        flat = column.combine_chunks().flatten()
        is_whole = pa.types.is_integer(type.value_type) and flat.null_count == 0
        if is_whole or pa.types.is_floating(type.value_type):
            numbers = np.ascontiguousarray(flat.to_numpy(zero_copy_only=False))
            return numbers.reshape(len(column), type.list_size)
    if not _has_time(type):
        try:
            return column.to_pylist()
        except (ValueError, OverflowError):
            # There are times that Arrow can hold, and Python cannot.
            pass
    return [value for chunk in column.chunks for value in in_json(plain(chunk)).to_pylist()]


def _has_time(type: pa.DataType) -> bool:
    """Whether it has times of day, of which orjson leaves out zeros: 1.05 seconds are 01.5."""
    return pa.types.is_time(type) or any(_has_time(type.field(number).type) for number in range(type.num_fields))


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
