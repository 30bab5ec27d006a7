"""Compact vectors: float16, int8 or bits in the place of float32."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.arrays import Floats
from actors.parameters import INT8_MOST, EmbeddingParameters


def compacted(vectors: Floats, embedding: EmbeddingParameters) -> npt.NDArray[Any]:
    """Vectors in the type in which they are written.

    int8 has one scale for all numbers of all vectors, and no offset: the nearest whole number to x / int8_scale, from
    -127 to 127. So a vector's numbers depend on nothing but itself, products of two vectors of whole numbers rank as
    those of the vectors do, and a whole number of 0 is 0. Ranges by dimension, as sentence-transformers' int8 has them,
    are somewhat finer, but they have to be measured on vectors of the same corpus before the first one is written, and
    their offsets change products.

    float16 has no number beyond 65504, at which larger ones of vectors that are not normalised are cut.

    binary is a bit for every number, 1 where it is above 0, the first in the highest bit of the first byte, zeros in
    what is left of the last: `numpy.packbits`, and sentence-transformers' precision "ubinary".

    Args:
        vectors: [R, D], pooled as `embedding` says.

    Returns:
        [R, D], or [R, ceil(D / 8)] uint8 for binary.
    """
    if embedding.dtype == "binary":
        return np.packbits(vectors > 0, axis=1)
    if embedding.dtype == "int8":
        steps = np.rint(vectors / np.float32(embedding.int8_scale))
        whole: npt.NDArray[np.int8] = np.clip(steps, -INT8_MOST, INT8_MOST).astype(np.int8)
        return whole
    return in_float_type(vectors, np.dtype(embedding.dtype))


def in_float_type(numbers: Floats, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The same in this type: the nearest that it has, which for larger numbers than it can hold is its largest one, and
    not infinity.
    """
    most = np.finfo(dtype).max
    cut = numbers if np.finfo(numbers.dtype).max <= most else np.clip(numbers, -most, most)
    return cut.astype(dtype, copy=False)


def number_type(embedding: EmbeddingParameters) -> np.dtype[Any]:
    """Of the numbers that `compacted` gives."""
    return np.dtype("uint8" if embedding.dtype == "binary" else embedding.dtype)


def written_width(embedding: EmbeddingParameters, hidden_size: int) -> int:
    """Numbers of a vector that `compacted` gives, of a model whose own have `hidden_size`."""
    kept = embedding.dimensions or hidden_size
    return math.ceil(kept / 8) if embedding.dtype == "binary" else kept


def described(embedding: EmbeddingParameters, hidden_size: int) -> dict[str, str]:
    """What a reader has to know of vectors that are no floats, for the metadata of a part; empty for floats."""
    if embedding.dtype not in ("int8", "binary"):
        return {}
    told = {"embedding.dtype": embedding.dtype, "embedding.dimensions": str(embedding.dimensions or hidden_size)}
    return told | ({"embedding.int8_scale": repr(embedding.int8_scale)} if embedding.dtype == "int8" else {})


def directions(numbers: npt.NDArray[Any]) -> Floats:
    """[R, D] vectors that point where written ones do, [R, D] or bits in bytes; their lengths mean nothing."""
    if numbers.dtype == np.uint8:
        return np.unpackbits(numbers, axis=1).astype(np.float32) * 2 - 1
    return numbers.astype(np.float32)
