"""Names for numpy arrays by their type, and the index of a ragged gather."""

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Shorts = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def segments(starts: Longs, lengths: Longs) -> Longs:
    """The integers of n ranges, end to end: [starts[0], ..., starts[0] + lengths[0] - 1, starts[1], ...]."""
    total = int(lengths.sum())
    shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    positions: Longs = np.arange(total, dtype=np.int64) + shift
    return positions
