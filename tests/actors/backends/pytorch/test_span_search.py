"""Spans found where the logits are: the same as the host finds, ties included, whatever searches share the pass."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.arrays import Flags, Floats
from actors.backends.pytorch.span_search import SpanFinder, read_candidates
from actors.backends.pytorch.transfer import Transfer
from actors.candidates import SpanSearch
from actors.engine.decoding.span_decoding import best_spans
from tests.actors.helpers import hand_batch, random_logits

TRANSFER = Transfer(torch.device("cpu"))


@given(
    shapes=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), min_size=1, max_size=6),
    has_cls=st.booleans(),
    wanted=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 25)), min_size=1, max_size=3),
    levels=st.sampled_from([3, 1000]),
    seed=st.integers(0, 1 << 30),
)
def test_it_finds_what_the_host_finds(
    shapes: list[tuple[int, int]],
    has_cls: bool,
    wanted: list[tuple[int, int]],
    levels: int,
    seed: int,
) -> None:
    """`levels` 3 makes most logits tie."""
    rng = np.random.default_rng(seed)
    batch, start, end = random_logits(shapes, has_cls, levels, 5, rng)
    bounds = np.linspace(0, batch.windows, len(wanted) + 1).astype(int).tolist()
    searches = [SpanSearch(slice(*own), k, longest) for own, (k, longest) in zip(pairwise(bounds), wanted, strict=True)]
    order = rng.permutation(batch.windows)
    finder = SpanFinder.of(batch, order, searches, TRANSFER)
    found = read_candidates(finder.find(torch.from_numpy(start[order]), torch.from_numpy(end[order])), order)
    for search in searches:
        theirs = best_spans(start, end, batch, search.k, search.max_answer_len).part(search.windows)
        mine = found.part(search.windows).first(search.k)
        width = min(mine.start.shape[1], theirs.start.shape[1])
        np.testing.assert_allclose(mine.score[:, :width], theirs.score[:, :width], rtol=1e-5, atol=1e-7)
        assert (mine.start[:, width:] == -1).all()
        assert (theirs.start[:, width:] == -1).all()
        np.testing.assert_allclose(mine.null_score, theirs.null_score, rtol=1e-5)
        clear = _differs_from_its_neighbours(theirs.score[:, :width])
        np.testing.assert_array_equal(mine.start[:, :width][clear], theirs.start[:, :width][clear])
        np.testing.assert_array_equal(mine.end[:, :width][clear], theirs.end[:, :width][clear])


def _differs_from_its_neighbours(scores: Floats) -> Flags:
    """Where no rounding, which differs between libraries, changes the order; the last may have one behind it."""
    apart = scores[:, :-1] > scores[:, 1:] * (1 + 1e-4)
    no = np.zeros((len(scores), 1), dtype=bool)
    clear: Flags = np.hstack([~no, apart]) & np.hstack([apart, no])
    return clear


def test_equal_scores_keep_the_reading_order() -> None:
    batch = hand_batch([6], [3], [2], 0)
    logits, order = torch.zeros((1, 6)), np.arange(1)
    found = read_candidates(
        SpanFinder.of(batch, order, [SpanSearch(slice(0, 1), 10, 5)], TRANSFER).find(logits, logits), order
    )
    spans = list(zip(found.start[0].tolist(), found.end[0].tolist(), strict=True))
    assert spans[:3] == [(0, 0), (0, 1), (1, 1)]
    assert set(spans[3:]) == {(-1, -1)}


def test_nan_gives_no_span_and_what_stands_on_padding_does_not_matter() -> None:
    batch, order = hand_batch([4, 3], [1, 1], [2, 1], 0), np.arange(2)
    logits = torch.zeros((2, 4))
    logits[0], logits[1, 3] = torch.nan, torch.nan
    finder = SpanFinder.of(batch, order, [SpanSearch(slice(0, 2), 3, 2)], TRANSFER)
    found = read_candidates(finder.find(logits, logits), order)
    assert (found.start[0] < 0).all()
    assert found.start[1, 0] == 0


def test_a_pass_of_many_spans_is_looked_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    batch, order = hand_batch([30] * 9, [2] * 9, [27] * 9, 0), np.arange(9)
    start, end = (torch.from_numpy(rng.normal(size=(9, 30)).astype(np.float32)) for _ in range(2))
    finder = SpanFinder.of(batch, order, [SpanSearch(slice(0, 9), 12, 15)], TRANSFER)
    whole = read_candidates(finder.find(start, end), order)
    monkeypatch.setattr("actors.backends.pytorch.span_search._MOST_SCORES", 2 * 12 * 15)
    parts = read_candidates(finder.find(start, end), order)
    np.testing.assert_array_equal(parts.start, whole.start)
    np.testing.assert_array_equal(parts.score, whole.score)
