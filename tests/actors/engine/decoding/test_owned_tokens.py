"""Every passage token is given by one window: the one where it stands farthest from an edge."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.decoding.owned_tokens import OwnedTokens
from actors.tokenization.windows import cut
from tests.actors.helpers import ints


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    capacity=st.integers(2, 25),
    data=st.data(),
)
def test_the_window_is_that_of_the_farthest_edge_and_of_two_the_earlier(
    lengths: list[int], capacity: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(0, capacity - 1))
    owners = np.arange(len(lengths), dtype=np.int32)
    windows = cut(owners, ints(np.zeros_like(owners)), owners, (ints(owners * 0), ints(lengths)), capacity, stride)
    owned = OwnedTokens.of(windows, len(lengths))
    assert np.diff(owned.offsets).tolist() == lengths
    for owner, length in enumerate(lengths):
        own = np.flatnonzero(windows.owner == owner)
        for token in range(length):
            edges = np.minimum(token - windows.first[own], windows.stop[own] - 1 - token)
            best = own[int(np.argmax(edges))]
            (giving,) = [window for window in own if owned.first[window] <= token < owned.stop[window]]
            assert giving == best
            assert owned.place[giving] + token - owned.first[giving] == owned.offsets[owner] + token


def test_of_no_windows() -> None:
    nothing = ints([])
    owned = OwnedTokens.of(cut(nothing, nothing, nothing, (nothing, nothing), 5, 0), 0)
    assert owned.offsets.tolist() == [0]
