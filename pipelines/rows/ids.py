"""Ids of every kind as text: strings, whole numbers, UUIDs, and the objects that MongoDB exports them as."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.rows.spelling import text_of

_OBJECTS = ("$oid", "$uuid", "$numberInt", "$numberLong")
"""MongoDB's Extended JSON: an object with one of these keys alone is an id."""

_EXACT = 2.0**63
"""Doubles below it that are whole are integers that Arrow knows."""


def id_texts(array: pa.Array) -> tuple[pa.StringArray, NDArray[np.bool_]]:
    """Ids of a plain array (`plain_arrays.plain`).

    Text stays; whole numbers of any type are written as integers (1.0 and 1.00 are "1"), a UUID with its hyphens, and
    a struct of nothing but `$oid` (or another key of Extended JSON) is what it holds.

    Returns:
        The ids, null where there is none, and [N] which values are of a kind that is no id.
    """
    type = array.type
    if pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_integer(type):
        texts = array.cast(pa.string())
    elif type == pa.uuid():
        texts = text_of(array)
    elif pa.types.is_decimal(type):
        # Negative scales are spelled with an exponent, and are none of ids.
        texts = _where_matching(array.cast(pa.string()), r"^-?\d+(\.0*)?$")
        texts = pc.replace_substring_regex(texts, r"\.0*$", "")
    elif pa.types.is_floating(type):
        texts = _whole(array.cast(pa.float64()))
    elif pa.types.is_struct(type) and type.num_fields == 1 and type.field(0).name in _OBJECTS:
        texts, _ = id_texts(array.flatten()[0])
    else:
        texts = pa.nulls(len(array), pa.string())
    refused: NDArray[np.bool_] = pc.and_(array.is_valid(), texts.is_null()).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(type):
        # NaN is how a table of numbers says null.
        refused &= ~np.isnan(array.to_numpy(zero_copy_only=False))
    return texts, refused


def id_texts_of_values(values: Sequence[Any]) -> tuple[pa.StringArray, NDArray[np.bool_]]:
    """As `id_texts`, of JSON values; integers may have any length."""
    kinds = {value.__class__ for value in values if value is not None}
    if kinds <= {str}:
        return pa.array(values, pa.string()), np.zeros(len(values), bool)
    texts = [_id_text(value) for value in values]
    refused = [value is not None and text is None for value, text in zip(values, texts, strict=True)]
    return pa.array(texts, pa.string()), np.array(refused, bool)


def _id_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if isinstance(value, dict) and len(value) == 1:
        [(name, inner)] = value.items()
        return _id_text(inner) if name in _OBJECTS and not isinstance(inner, dict) else None
    return None


def _whole(doubles: pa.Array) -> pa.Array:
    numbers = doubles.fill_null(0).to_numpy(zero_copy_only=False)
    is_whole = (np.trunc(numbers) == numbers) & (np.abs(numbers) < _EXACT)
    valid = doubles.is_valid().to_numpy(zero_copy_only=False)
    return pa.array(np.where(is_whole, numbers, 0).astype(np.int64), mask=~(valid & is_whole)).cast(pa.string())


def _where_matching(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(texts, pattern), texts, pa.scalar(None, pa.string()))
