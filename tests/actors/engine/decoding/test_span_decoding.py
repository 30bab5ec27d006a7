"""The best spans, against scoring every span there is."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.candidates import Candidates
from actors.engine.decoding.span_decoding import best_spans, candidates_wanted
from tests.actors.helpers import hand_batch, random_logits

Logits = npt.NDArray[np.float32]


def _probabilities(logits: Logits, allowed: list[int]) -> dict[int, float]:
    wide = np.array([logits[i] for i in allowed], dtype=np.float64)
    shares = np.exp(wide - wide.max())
    return dict(zip(allowed, (shares / shares.sum()).tolist(), strict=True))


def _every_span(
    start: Logits, end: Logits, passage: range, cls: int | None, max_answer_len: int
) -> tuple[dict[tuple[int, int], float], float]:
    """Probability of every allowed span, counted from the passage's start, and of the null answer."""
    allowed = [*passage] + ([] if cls is None else [cls])
    p_start, p_end = _probabilities(start, allowed), _probabilities(end, allowed)
    spans = {
        (s - passage.start, e - passage.start): p_start[s] * p_end[e]
        for s in passage
        for e in range(s, min(s + max_answer_len, passage.stop))
    }
    return spans, 0.0 if cls is None else p_start[cls] * p_end[cls]


@given(
    shapes=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=4),
    has_cls=st.booleans(),
    max_answer_len=st.integers(1, 40),
    k=st.integers(1, 30),
    spread=st.sampled_from([0.1, 3.0, 12.0]),
    levels=st.sampled_from([3, 1000]),
    seed=st.integers(0, 1 << 30),
)
def test_the_k_best_of_all_spans(
    shapes: list[tuple[int, int]],
    has_cls: bool,
    max_answer_len: int,
    k: int,
    spread: float,
    levels: int,
    seed: int,
) -> None:
    """`levels` 3 makes most logits tie."""
    rng = np.random.default_rng(seed)
    batch, start, end = random_logits(shapes, has_cls, levels, spread, rng)
    found = best_spans(start, end, batch, k, max_answer_len)
    for row, (first, count) in enumerate(zip(batch.passage_start.tolist(), batch.passage_length.tolist(), strict=True)):
        passage = range(first, first + count)
        spans, null = _every_span(start[row], end[row], passage, 0 if has_cls else None, max_answer_len)
        used = found.start[row] >= 0
        mine = list(zip(found.start[row][used].tolist(), found.end[row][used].tolist(), strict=True))
        assert len(set(mine)) == len(mine) == min(k, len(spans))
        scores = found.score[row][used]
        np.testing.assert_allclose(scores, [spans[span] for span in mine], rtol=2e-5)
        np.testing.assert_allclose(scores, sorted(spans.values(), reverse=True)[: len(mine)], rtol=2e-5)
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(found.null_score[row], null, rtol=2e-5)
        assert not used[len(mine) :].any(), "unused places come last"


def test_places_beyond_the_available_spans_stay_empty() -> None:
    batch = hand_batch([6], [3], [2], 0)
    logits = np.zeros((1, 6), dtype=np.float32)
    found = best_spans(logits, logits, batch, 10, 5)
    width = found.start.shape[1]
    spans = list(zip(found.start[0].tolist(), found.end[0].tolist(), strict=True))
    assert spans == [(0, 0), (0, 1), (1, 1)] + [(-1, -1)] * (width - 3), "equal scores keep the reading order"
    np.testing.assert_allclose(found.score[0], [1 / 9] * 3 + [0] * (width - 3), rtol=1e-6)


def test_the_cls_token_takes_its_share_but_is_no_answer() -> None:
    batch = hand_batch([4], [2], [1], 0)
    logits = np.array([[np.log(3), 50.0, 0.0, 50.0]], dtype=np.float32)
    found = best_spans(logits, logits, batch, 1, 1)
    assert (found.start[0, 0], found.end[0, 0]) == (0, 0)
    assert found.score[0, 0] == pytest.approx(1 / 16), "question and separator have no share, whatever their logits"
    assert found.null_score[0] == pytest.approx(9 / 16)


def test_without_a_cls_token_the_passage_has_it_all() -> None:
    logits = np.array([[7.0, 0.0, 7.0]], dtype=np.float32)
    found = best_spans(logits, logits, hand_batch([3], [1], [1], None), 1, 1)
    assert (found.score[0, 0], found.null_score[0]) == (1.0, 0.0)


def test_a_peak_so_sharp_that_probabilities_underflow_still_ranks_the_rest() -> None:
    """exp(-400) is 0 in float32, and so is every product with it; in logarithms the order is kept."""
    batch = hand_batch([6], [1], [5], 0)
    start = np.array([[-500, 0, -400, -410, -420, -430]], dtype=np.float32)
    end = np.array([[-500, 0, -430, -420, -410, -400]], dtype=np.float32)
    found = best_spans(start, end, batch, 4, 5)
    spans = list(zip(found.start[0].tolist(), found.end[0].tolist(), strict=True))
    assert spans == [(0, 0), (0, 4), (0, 3), (0, 2)]
    np.testing.assert_array_equal(found.score[0], [1, 0, 0, 0])


def test_padding_and_its_logits_change_nothing() -> None:
    rng = np.random.default_rng(3)
    start, end = (rng.normal(0, 3, (1, 9)).astype(np.float32) for _ in range(2))
    alone = best_spans(start, end, hand_batch([9], [3], [5], 0), 5, 3)
    wider = np.full((2, 30), 88.0, dtype=np.float32)
    wide_start, wide_end = wider.copy(), wider.copy()
    wide_start[0, :9], wide_end[0, :9] = start, end
    beside = best_spans(wide_start, wide_end, hand_batch([9, 30], [3, 3], [5, 26], 0), 5, 3)
    np.testing.assert_array_equal(beside.start[0], alone.start[0])
    np.testing.assert_array_equal(beside.end[0], alone.end[0])
    np.testing.assert_allclose(beside.score[0], alone.score[0], rtol=1e-6)


def test_nan_logits_give_no_span() -> None:
    logits = np.full((1, 4), np.nan, dtype=np.float32)
    found = best_spans(logits, logits, hand_batch([4], [1], [2], 0), 3, 2)
    assert (found.start < 0).all()


def test_more_candidates_are_kept_where_words_merge_them() -> None:
    assert [candidates_wanted(k, align) for k in (1, 3) for align in (True, False)] == [12, 1, 16, 3]


def test_candidates_are_stored_by_window() -> None:
    store = Candidates.empty(3, 4)
    ones = np.ones((2, 2))
    part = Candidates(
        (ones * 5).astype(np.int32), (ones * 6).astype(np.int32), ones.astype(np.float32), np.array([0.5, 0.25], "f")
    )
    store.put(np.array([2, 0]), part)
    assert store.start.tolist() == [[5, 5, -1, -1], [-1] * 4, [5, 5, -1, -1]]
    assert store.end[:, 0].tolist() == [6, -1, 6]
    assert store.null_score.tolist() == [0.25, 0.0, 0.5]


def test_of_more_equal_spans_than_are_kept_the_leftmost_stay() -> None:
    batch = hand_batch([60], [1], [58], 0)
    logits = np.zeros((1, 60), dtype=np.float32)
    logits[0, 1::3] = -0.0
    found = best_spans(logits, logits, batch, 4, 1)
    assert list(zip(found.start[0].tolist(), found.end[0].tolist(), strict=True)) == [(at, at) for at in range(4)]
