"""The best threshold, against trying every one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.evaluation.abstention_threshold import BestThreshold, best_threshold

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.4, 1.0]), st.booleans(), st.booleans()), min_size=1, max_size=12
).flatmap(lambda rows: st.permutations(range(1, len(rows) + 1)).map(lambda ranks: list(zip(rows, ranks, strict=True))))


@given(rows=ROWS)
def test_no_threshold_is_better(rows: list[tuple[tuple[float, bool, bool], int]]) -> None:
    scores = np.array([score if answerable else float(not answered) for (score, answerable, answered), _ in rows])
    answerable, answered = (np.array([flags[at] for flags, _ in rows]) for at in (1, 2))
    no_answer = np.array([rank / 20 for _, rank in rows])
    best = best_threshold(scores, no_answer, answerable, answered)

    def score(threshold: float) -> float:
        return 100.0 * float(np.where(no_answer > threshold, ~answerable, scores).mean())

    assert score(best.threshold) == pytest.approx(best.score)
    assert best.score == pytest.approx(max(map(score, [0.0, *no_answer])))


def test_worked_out_by_hand() -> None:
    # Surest first: right, an answer where there is none, half right, no answer where there is one. Above 0.3 abstains:
    # 1 + 0 + 0.5 + 0, above 0.1: 1 + 1 + 0 + 0.
    scores, no_answer = np.array([0.0, 0.5, 0.0, 1.0]), np.array([0.9, 0.3, 0.2, 0.1])
    answerable, answered = np.array([True, True, False, True]), np.array([False, True, True, True])
    assert best_threshold(scores, no_answer, answerable, answered) == BestThreshold(50.0, 0.1)


def test_always_abstaining_is_threshold_zero() -> None:
    nothing = np.array([False, False])
    assert best_threshold(np.zeros(2), np.array([0.2, 0.8]), nothing, ~nothing) == BestThreshold(100.0, 0.0)
