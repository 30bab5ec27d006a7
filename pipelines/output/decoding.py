"""Reads parts of JSON Lines back into the types that their rows had."""

import base64
import binascii
import uuid
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pipelines.errors import JobError
from pipelines.rows.column_fit import fit_values
from pipelines.rows.plain_arrays import Lists, struct_of


def from_jsonl(data: bytes, schema: pa.Schema) -> pa.Table:
    """What `encoding.to_jsonl` wrote; NaN and infinity, which it writes as null, stay null.

    Raises:
        JobError: a column holds values of which JSON keeps too little, such as durations; the message names it.
    """
    rows = [orjson.loads(line) for line in data.splitlines()]
    columns = []
    for field in schema:
        try:
            columns.append(_array([row[field.name] for row in rows], field.type))
        except (ValueError, OverflowError, LookupError, TypeError, AttributeError, pa.ArrowException) as error:
            raise JobError(
                f"column {field.name!r} of type {field.type} cannot be read back from JSON Lines ({error}). Read the "
                "parts as they are, or write the job as Parquet: output.format=parquet"
            ) from error
    return pa.table(columns, schema=schema)


def _array(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    """JSON values in a type that `column_fit.fit` gives, or that of a result.

    Raises:
        ValueError: they do not tell the values of this type.
    """
    if pa.types.is_struct(type):
        children = [_array([None if one is None else one[field.name] for one in values], field.type) for field in type]
        return struct_of(children, type, pa.array([None if one is None else True for one in values], pa.bool_()))
    if pa.types.is_map(type):
        lists, pairs = _lists(values)
        keys, items = (
            _array([key for key, _ in pairs], type.key_type),
            _array([one for _, one in pairs], type.item_type),
        )
        return Lists(*lists, keys).as_map(keys, items)
    if pa.types.is_nested(type):
        lists, elements = _lists(values)
        child = _array(elements, type.value_type)
        return Lists(*lists, child).with_child(child, type)
    if pa.types.is_floating(type):
        doubles = pa.array(values, pa.float64())
        floats = doubles.to_numpy(zero_copy_only=False).astype(type.to_pandas_dtype())
        return pa.array(floats, type, mask=doubles.is_null().to_numpy(zero_copy_only=False))
    if pa.types.is_binary(type) or pa.types.is_large_binary(type) or pa.types.is_fixed_size_binary(type):
        return pa.array([None if one is None else _decoded(one) for one in values], type)
    if type == pa.uuid():
        storage = pa.array([None if one is None else uuid.UUID(one).bytes for one in values], type.storage_type)
        return pa.ExtensionArray.from_storage(type, storage)
    if pa.types.is_time(type):
        # Arrow reads seconds with a fraction within timestamps alone.
        moments = [None if one is None else f"1970-01-01T{one}" for one in values]
        return _array(moments, pa.timestamp(type.unit)).cast(type)
    fitted = fit_values(values, type)
    if fitted.lost.any():
        raise ValueError(f"{values[int(fitted.lost.argmax())]!r} does not tell the value")
    return fitted.array


def _lists(values: Sequence[Any]) -> tuple[tuple[Any, Any], list[Any]]:
    """Lengths and validity of lists, as `Lists` has them, and all of their elements."""
    lengths = np.array([0 if one is None else len(one) for one in values], np.int64)
    valid = np.array([one is not None for one in values], bool)
    return (lengths, valid), list(chain.from_iterable(one for one in values if one))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text!r} is not base64") from error
