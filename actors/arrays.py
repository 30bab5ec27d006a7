"""Names for numpy arrays by their type, the index of a ragged gather, and arrays of unequal width as one."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Shorts = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_Number = TypeVar("_Number", bound=np.generic)


def segments(starts: Longs, lengths: Longs) -> Longs:
    """The integers of n ranges, end to end: [starts[0], ..., starts[0] + lengths[0] - 1, starts[1], ...]."""
    total = int(lengths.sum())
    shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    positions: Longs = np.arange(total, dtype=np.int64) + shift
    return positions


def stack_by_token(values: Sequence[npt.NDArray[_Number]], width: int, fill: float = 0) -> npt.NDArray[_Number]:
    """[n, ..., width] what several batches have for their tokens, [n_i, ..., S_i] each, in order.

    Args:
        values: one at least.
        fill: stands on padding.
    """
    pads = [[(0, 0)] * (v.ndim - 1) + [(0, width - v.shape[-1])] for v in values]
    return np.concatenate([np.pad(v, pad, constant_values=fill) for v, pad in zip(values, pads, strict=True)])
