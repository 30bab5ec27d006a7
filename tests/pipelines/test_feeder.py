"""How a shard is cut into pieces; what becomes of them is test_serving's."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.feeder import cut


@given(st.lists(st.integers(1, 400), max_size=60), st.floats(1, 2000))
def test_pieces_hold_every_owner_once_and_no_more_than_they_may(lengths: list[int], tokens: float) -> None:
    before = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    pieces = cut(before, tokens)
    assert [owner for first, stop in pieces for owner in range(first, stop)] == list(range(len(lengths)))
    for first, stop in pieces:
        assert before[stop] - before[first] <= tokens or stop == first + 1
    for (first, _), (_, stop) in pairwise(pieces):
        assert before[stop] - before[first] > tokens, "two neighbours would have fitted into one piece"


def test_a_shard_without_rows_is_one_empty_piece() -> None:
    assert cut(np.zeros(1, dtype=np.int64), 100.0) == [(0, 0)]
