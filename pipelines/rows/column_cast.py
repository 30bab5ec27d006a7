"""Conversion of a column to an Arrow type in one call, with null and an error for each value that does not convert."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

ConversionErrors = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
"""What Arrow raises for a value that cannot be converted."""


def cast_column(
    values: Sequence[Any] | pa.ChunkedArray, convert: Callable[[Any], Any], type: pa.DataType
) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """`convert(values)` as a chunked array of `type`, with null for every value that cannot be converted, and the
    error's text for each of these by number.

    `convert` takes any slice of `values`. It is called once where all is well; a slice that fails is halved, so k
    bad values among n cost some k log n calls.
    """
    chunks, errors = _cast(values, convert, type, 0)
    return pa.chunked_array(chunks, type), errors


def _cast(
    values: Any, convert: Callable[[Any], Any], type: pa.DataType, offset: int
) -> tuple[list[pa.Array], dict[int, str]]:
    if len(values) == 0:
        return [pa.nulls(0, type)], {}
    try:
        converted = convert(values)
    except ConversionErrors as error:
        if len(values) == 1:
            return [pa.nulls(1, type)], {offset: str(error)}
        middle = len(values) // 2
        left, left_errors = _cast(values[:middle], convert, type, offset)
        right, right_errors = _cast(values[middle:], convert, type, offset + middle)
        return left + right, left_errors | right_errors
    return list(converted.chunks) if isinstance(converted, pa.ChunkedArray) else [converted], {}
