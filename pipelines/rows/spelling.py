"""Values of any type as text: as JSON spells them."""

import base64
import json
import math
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows.plain_arrays import Lists, struct_of


def text_of(array: pa.Array) -> pa.StringArray:
    """Plain arrays (`plain_arrays.plain`) as strings, null for null and for NaN.

    Text stays as it is. Numbers, true and false are as in JSON, infinity is Infinity; dates and times are ISO 8601, a
    duration is its number and unit (1500ms); bytes are base64; lists, structs and maps (as lists of pairs) are JSON.
    """
    type = array.type
    if pa.types.is_null(type):
        return pa.nulls(len(array), pa.string())
    if pa.types.is_nested(type):
        return pa.array(
            [None if value is None else spelled(value) for value in in_json(array).to_pylist()], pa.string()
        )
    if pa.types.is_floating(type):
        return _floats(array)
    if pa.types.is_temporal(type):
        return _times(array)
    if pa.types.is_binary(type) or pa.types.is_large_binary(type) or pa.types.is_fixed_size_binary(type):
        coded = [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
        return pa.array(coded, pa.string())
    if type == pa.uuid():
        coded = [None if value is None else str(uuid.UUID(bytes=value)) for value in array.storage.to_pylist()]
        return pa.array(coded, pa.string())
    return array.cast(pa.string())


def spelled(value: Any) -> str:
    """A value of JSON as JSON, in UTF-8. Integers may have any length; NaN is null.

    Raises:
        RecursionError: it has hundreds of lists in one another.
    """
    try:
        if not _has_infinity(value):
            return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        pass
    return json.dumps(_without_nan(value), ensure_ascii=False, separators=(",", ":"))


def _has_infinity(value: Any) -> bool:
    if isinstance(value, float):
        return math.isinf(value)
    if isinstance(value, dict):
        return any(map(_has_infinity, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_infinity, value))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _floats(array: pa.Array) -> pa.StringArray:
    values = array.cast(pa.float32()) if pa.types.is_float16(array.type) else array
    numbers = values.to_numpy(zero_copy_only=False)
    words: Sequence[str] = (
        orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
    )
    texts = pa.array(words if len(array) else [], pa.string())
    texts = pc.if_else(pa.array(np.isposinf(numbers)), "Infinity", texts)
    texts = pc.if_else(pa.array(np.isneginf(numbers)), "-Infinity", texts)
    return pc.if_else(pa.array(np.isnan(numbers)), pa.scalar(None, pa.string()), texts)


def _times(array: pa.Array) -> pa.StringArray:
    if pa.types.is_duration(array.type):
        return pc.binary_join_element_wise(array.cast(pa.int64()).cast(pa.string()), array.type.unit, "")
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        # Whatever zone it is shown in, it is the same instant.
        array = array.cast(pa.timestamp(array.type.unit, "UTC"))
    texts = pc.replace_substring_regex(array.cast(pa.string()), r"^([^ <]+) ", r"\1T")
    texts = pc.replace_substring_regex(texts, r"(\.\d*?)0+(Z?)$", r"\1\2")
    return pc.replace_substring_regex(texts, r"\.(Z?)$", r"\1")


def in_json(array: pa.Array) -> pa.Array:
    """The same plain array with text in the place of every value that JSON does not know; NaN and infinity stay."""
    type = array.type
    if pa.types.is_struct(type):
        children = [in_json(child) for child in array.flatten()]
        fields = [pa.field(field.name, child.type) for field, child in zip(type, children, strict=True)]
        return struct_of(children, pa.struct(fields), array)
    if pa.types.is_nested(type):
        lists = Lists.of_map(array) if pa.types.is_map(type) else Lists.of(array)
        if pa.types.is_map(type):
            keys, items = (in_json(child) for child in lists.child.flatten())
            return lists.as_map(keys, items)
        child = in_json(lists.child)
        return lists.with_child(child, pa.large_list(child.type))
    is_json = pa.types.is_integer(type) or pa.types.is_boolean(type) or pa.types.is_floating(type)
    return array if is_json or pa.types.is_string(type) or pa.types.is_large_string(type) else text_of(array)
