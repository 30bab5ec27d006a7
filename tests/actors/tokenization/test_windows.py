"""Every passage token gets its windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import TooManyWindows
from actors.tokenization.windows import check_fit, cut
from tests.actors.helpers import ints

ROOM = st.integers(1, 40)
LENGTHS = st.lists(st.tuples(st.integers(0, 45), st.integers(0, 200)), min_size=0, max_size=6)
STRIDE = st.integers(0, 20)


def _windows_one_by_one(length: int, capacity: int, stride: int) -> list[tuple[int, int]]:
    """What a reader would do: read up to the border, go back by the overlap, read on until the end."""
    windows = [(0, min(capacity, length))]
    while windows[-1][1] < length:
        first = windows[-1][1] - stride
        windows.append((first, min(first + capacity, length)))
    return windows


@given(LENGTHS, ROOM, STRIDE)
def test_windows_are_those_of_reading_on_with_an_overlap(
    lengths: list[tuple[int, int]], room: int, stride: int
) -> None:
    lengths = [(q, p) for q, p in lengths if room - q > 0 and (p <= room - q or room - q > stride)]
    owner = ints(range(len(lengths)))
    questions, passages = owner + 10, owner + 20
    windows = cut(
        owner, questions, passages, (ints([q for q, _ in lengths]), ints([p for _, p in lengths])), room, stride
    )
    expected = [(i, *w) for i, (q, p) in enumerate(lengths) for w in _windows_one_by_one(p, room - q, stride)]
    assert list(zip(windows.owner, windows.first, windows.stop, strict=True)) == expected
    assert windows.question.tolist() == [10 + o for o in windows.owner]
    assert windows.passage.tolist() == [20 + o for o in windows.owner]
    assert len(windows) == len(expected)


@given(st.integers(0, 30), st.integers(1, 300), st.integers(1, 40), STRIDE)
def test_neighbours_share_exactly_the_stride_and_cover_every_token(
    question: int, passage: int, capacity: int, stride: int
) -> None:
    if capacity <= stride:
        return
    one = ints([0])
    windows = cut(one, one, one, (ints([question]), ints([passage])), question + capacity, stride)
    assert (windows.stop[:-1] - windows.first[1:] == stride).all()
    covered = np.unique(np.concatenate([np.arange(a, b) for a, b in zip(windows.first, windows.stop, strict=True)]))
    assert covered.tolist() == list(range(passage))
    assert (windows.stop - windows.first <= capacity).all()


def test_owners_may_have_overlaps_of_their_own() -> None:
    owner, questions = ints([0, 1]), ints([0, 3])
    windows = cut(owner, owner, owner, (questions, ints([12, 12])), 8, ints([4, 2]))
    expected = [_windows_one_by_one(12, 8, 4), _windows_one_by_one(12, 5, 2)]
    found = list(zip(windows.owner.tolist(), windows.first.tolist(), windows.stop.tolist(), strict=True))
    assert found == [(number, *window) for number, windows_of in enumerate(expected) for window in windows_of]


def test_a_passage_that_just_fits_is_one_window() -> None:
    one = ints([0])
    windows = cut(one, one, one, (ints([4]), ints([6])), 10, 5)
    assert (windows.first.tolist(), windows.stop.tolist()) == ([0], [6])
    longer = cut(one, one, one, (ints([4]), ints([7])), 10, 5)
    assert (longer.first.tolist(), longer.stop.tolist()) == ([0, 1], [6, 7])


def test_a_question_must_leave_room() -> None:
    question = ints([8, 9, 10, 11])
    passage = ints([2, 1, 1, 0])
    assert check_fit(question, passage, room=10, stride=0).tolist() == [True, True, False, False]


def test_a_long_passage_needs_more_room_than_the_overlap_but_a_short_one_does_not() -> None:
    question = ints([4, 5, 5])
    passage = ints([7, 6, 5])
    assert check_fit(question, passage, room=10, stride=5).tolist() == [True, False, True]


def test_no_owners_no_windows() -> None:
    none = ints([])
    assert len(cut(none, none, none, (none, none), 10, 2)) == 0
    assert check_fit(none, none, 10, 2).tolist() == []


def test_more_windows_than_are_allowed_are_counted_and_not_made() -> None:
    one = np.zeros(1, dtype=np.int32)
    lengths = np.array([3], dtype=np.int32), np.array([2_000_000_000], dtype=np.int32)
    with pytest.raises(TooManyWindows) as caught:
        cut(one, one, one, lengths, room=8, stride=4, most=1000)
    assert caught.value.windows == 1_999_999_996
    few = np.array([3], dtype=np.int32), np.array([8], dtype=np.int32)
    assert len(cut(one, one, one, few, room=8, stride=4, most=4)) == 4
