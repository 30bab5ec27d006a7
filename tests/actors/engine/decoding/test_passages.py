"""Slices of passages by code point, and the hashes that slices of equal lower case share."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.decoding.passages import Passages
from tests.actors.helpers import ints, strings

TEXT = st.text(st.sampled_from("aAbZ z[{@`09\nΣσςİıiKkÅåéÉ日本😀😁𐐀𐐨ǅ" + "\u0307\u0130"), min_size=0, max_size=30)
TEXTS = st.lists(TEXT, min_size=1, max_size=5)


@given(texts=TEXTS, data=st.data())
def test_slices_are_pythons_and_equal_ones_have_equal_hashes(texts: list[str], data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=20))
    # A slice of an array, as texts come from a shard.
    passages, place = Passages.of(strings(["before", *texts, "after"])[1 : len(texts) + 1], ints(numbers))
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, len(texts[number]))] * 2))) for number in numbers]
    start, end = ints([a for a, _ in ends]), ints([b for _, b in ends])
    expected = [texts[number][a:b] for number, (a, b) in zip(numbers, ends, strict=True)]
    assert passages.slices(place, start, end).to_pylist() == expected
    hashes = passages.hashes(place, start, end).tolist()
    seen: dict[tuple[int, str], int] = {}
    for number, text, found in zip(numbers, expected, hashes, strict=True):
        assert seen.setdefault((number, text.lower()), found) == found, text


@pytest.mark.parametrize("before", ["", "é"])
def test_hashes_of_texts_that_differ_at_either_end_or_in_length_differ(before: str) -> None:
    text = before + "river thames river severn the river thames"
    spans = [(at, stop) for at in range(len(text)) for stop in range(at + 1, min(at + 12, len(text)) + 1)]
    passages, place = Passages.of(strings([text]), ints([0] * len(spans)))
    hashes = passages.hashes(place, ints([a for a, _ in spans]), ints([b for _, b in spans]))
    assert len(set(hashes.tolist())) == len({text[a:b] for a, b in spans})


def test_every_code_point_has_the_hash_of_its_lower_case() -> None:
    changed = [c for c in map(chr, range(sys.maxunicode + 1)) if c.lower() != c]
    pairs = [(c, c.lower()) for c in changed if len(c.lower()) == 1]
    assert [c for c in changed if len(c.lower()) > 1] == ["İ"], "the one that is looked for"
    passages, place = Passages.of(strings(["".join(pair) for pair in pairs]), ints(range(len(pairs))))
    first, second = (passages.hashes(place, ints([at] * len(pairs)), ints([at + 1] * len(pairs))) for at in (0, 1))
    np.testing.assert_array_equal(first, second)


def test_a_slice_that_ends_before_it_begins_is_empty() -> None:
    passages, place = Passages.of(strings(["abc", "é"]), ints([0, 1]))
    assert passages.slices(place, ints([2, 1]), ints([1, 0])).to_pylist() == ["", ""]


def test_only_the_texts_that_are_asked_for_are_kept() -> None:
    texts = strings([f"text {i}" for i in range(100)])
    near, near_place = Passages.of(texts, ints([7, 5, 6, 7]))
    far, far_place = Passages.of(texts, ints([90, 3, 90]))
    none, _ = Passages.of(texts, ints([]))
    assert near.texts.to_pylist() == ["text 5", "text 6", "text 7"]
    assert near_place.tolist() == [2, 0, 1, 2]
    assert far.texts.to_pylist() == ["text 3", "text 90"]
    assert far_place.tolist() == [1, 0, 1]
    assert len(none.texts) == 0
