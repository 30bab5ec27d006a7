"""Ranges, end to end."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.arrays import segments
from tests.actors.helpers import ints


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10))))
def test_segments_are_ranges_end_to_end(ranges: list[tuple[int, int]]) -> None:
    starts, lengths = (ints([r[i] for r in ranges]).astype(np.int64) for i in (0, 1))
    expected = [i for start, length in ranges for i in range(start, start + length)]
    assert segments(starts, lengths).tolist() == expected
