"""Tokens of one tokenizer among those of another, held against a search by hand, token by token."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.models.loading import load_spec
from actors.tokenization.preprocess import tokens_with_places
from actors.tokenization.tokenizer import TokenPositions, Tokens
from actors.training.distillation.alignment import TokenAlignment, align_tokens
from tests.actors.helpers import GOLDEN, MODELS, ints, strings

SPECS = {name: load_spec(GOLDEN / "models" / name) for name in MODELS}
PIECES = (
    *("Ada ", "unbelievably ", "rye", " ", "\n", ".", ", ", "-", "“", "İstanbul ", "ﬁn", "Zoe\u0308 ", "żółw"),
    *("👩\u200d👩\u200d👧 ", "👍🏽", "❤️", "\u200b", "\x01", "東京", "ไทย"),
)
TEXTS = st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), min_size=1, max_size=4)
Places = list[tuple[int, int]]


def _cut(texts: list[Places]) -> tuple[Tokens, TokenPositions]:
    """Tokens at these places of texts."""
    flat = np.array([place for text in texts for place in text], dtype=np.int32).reshape(-1, 2)
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    nothing = ints([-1] * len(flat))
    return Tokens(ints(range(len(flat))), offsets), TokenPositions(flat[:, 0], flat[:, 1], nothing, nothing)


def _align(theirs: list[Places], ours: list[Places]) -> TokenAlignment:
    return align_tokens(_cut(theirs), _cut(ours))


@st.composite
def cuts(draw: st.DrawFn, length: int) -> Places:
    """A text of so many code points, cut into tokens, with gaps here and there."""
    edges = [0, *sorted(draw(st.sets(st.integers(1, length - 1)))), length] if length > 1 else [0, length]
    places = list(pairwise(edges))
    return [place for place in places if draw(st.integers(0, 5))]


@st.composite
def two_cuts(draw: st.DrawFn) -> tuple[list[Places], list[Places]]:
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    theirs, ours = ([draw(cuts(length)) for length in lengths] for _ in range(2))
    return theirs, ours


@given(two_cuts())
def test_a_start_goes_where_the_token_begins_and_an_end_where_it_ends(case: tuple[list[Places], list[Places]]) -> None:
    theirs, ours = case
    found = _align(theirs, ours)
    token = 0
    for their_places, our_places in zip(theirs, ours, strict=True):
        for begin, end in their_places:
            touched = [i for i, (a, b) in enumerate(our_places) if a < end and b > begin]
            before = len([None for _, b in our_places if b <= begin])
            expected = (touched[0], touched[-1]) if touched else (before, before - 1)
            assert (found.start[token], found.end[token]) == expected
            assert found.exact[token] == ((begin, end) in our_places)
            token += 1
    assert token == len(found.start)


@pytest.mark.parametrize("name", MODELS)
@given(texts=TEXTS)
def test_a_tokenizer_is_aligned_with_itself(name: str, texts: list[str]) -> None:
    """Bytes of one character too, which all stand at its place."""
    cut = tokens_with_places(SPECS[name], strings(texts))
    found = align_tokens(cut, cut)
    within = np.arange(len(cut[0].ids)) - np.repeat(cut[0].offsets[:-1], cut[0].lengths)
    assert found.exact.all()
    assert found.start.tolist() == found.end.tolist() == within.tolist()


@given(texts=TEXTS)
def test_real_tokenizers_find_tokens_that_overlap(texts: list[str]) -> None:
    for theirs in MODELS:
        for ours in MODELS:
            cut, others = (tokens_with_places(SPECS[name], strings(texts)) for name in (theirs, ours))
            found = align_tokens(cut, others)
            text = np.repeat(np.arange(len(texts)), cut[0].lengths)
            for start, end, of, begin, stop in zip(
                found.start, found.end, text, cut[1].char_start, cut[1].char_end, strict=True
            ):
                base, count = others[0].offsets[of], others[0].lengths[of]
                assert 0 <= start <= count
                assert -1 <= end < count
                if start <= end and begin < stop:
                    assert others[1].char_end[base + start] > begin
                    assert others[1].char_start[base + end] < stop


def test_words_in_pieces_and_pieces_as_words() -> None:
    word, pieces = [[(0, 12), (13, 16)]], [[(0, 2), (2, 5), (5, 12), (13, 16)]]
    whole = _align(word, pieces)
    assert (whole.start.tolist(), whole.end.tolist(), whole.exact.tolist()) == ([0, 3], [2, 3], [False, True])
    parts = _align(pieces, word)
    assert (parts.start.tolist(), parts.end.tolist()) == ([0, 0, 0, 1], [0, 0, 0, 1])


def test_bytes_of_one_character() -> None:
    """As many as ours are one to one; against fewer, an answer begins with the first and ends with the last."""
    three, two = [[(0, 1), (1, 2), (1, 2), (1, 2)]], [[(0, 1), (1, 2), (1, 2)]]
    assert _align(three, three).start.tolist() == [0, 1, 2, 3]
    found = _align(three, two)
    assert (found.start.tolist(), found.end.tolist()) == ([0, 1, 1, 1], [0, 2, 2, 2])
    assert found.exact.tolist() == [True, False, False, False]


def test_texts_without_a_token() -> None:
    found = _align([[(0, 1)], [], [(0, 2)]], [[], [(0, 3)], [(0, 2)]])
    assert (found.start.tolist(), found.end.tolist()) == ([0, 0], [-1, 0])
    assert not len(_align([[]], [[(0, 1)]]).start)
    assert _align([[(0, 1)]], [[]]).exact.tolist() == [False]
