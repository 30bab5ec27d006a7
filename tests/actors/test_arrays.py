"""Ranges, end to end, and arrays of unequal width as one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.arrays import segments, stack_by_token
from tests.actors.helpers import ints


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10))))
def test_segments_are_ranges_end_to_end(ranges: list[tuple[int, int]]) -> None:
    starts, lengths = (ints([r[i] for r in ranges]).astype(np.int64) for i in (0, 1))
    expected = [i for start, length in ranges for i in range(start, start + length)]
    assert segments(starts, lengths).tolist() == expected


def test_stacked_weights_are_padded_with_nothing() -> None:
    one, other = np.ones((1, 1, 2), dtype=np.float32), np.full((2, 1, 3), 0.5, dtype=np.float32)
    stacked = stack_by_token([one, other], 4)
    assert stacked.dtype == np.float32
    assert stacked.tolist() == [[[1, 1, 0, 0]], [[0.5, 0.5, 0.5, 0]], [[0.5, 0.5, 0.5, 0]]]


def test_stacked_flags_are_false_on_padding() -> None:
    flags = np.array([[[True, True], [False, True]]])
    stacked = stack_by_token([flags, ~flags], 3)
    assert stacked.tolist() == [
        [[True, True, False], [False, True, False]],
        [[False, False, False], [True, False, False]],
    ]


def test_what_stands_on_padding_can_be_told() -> None:
    stacked = stack_by_token([ints([7, 8]).reshape(1, 2), ints([9]).reshape(1, 1)], 3, -1)
    assert stacked.tolist() == [[7, 8, -1], [9, -1, -1]]
    assert stacked.dtype == np.int32
