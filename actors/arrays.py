"""Ranges of integers, end to end: the index of a ragged gather."""

import numpy as np

from actors.tokenization.tokenizer import Longs


def segments(starts: Longs, lengths: Longs) -> Longs:
    """The integers of n ranges, end to end: [starts[0], ..., starts[0] + lengths[0] - 1, starts[1], ...]."""
    total = int(lengths.sum())
    shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    positions: Longs = np.arange(total, dtype=np.int64) + shift
    return positions
