"""Judging predictions, worked out by hand."""

import math
from dataclasses import astuple

import pyarrow as pa
import pytest

from pipelines.evaluation.abstention_threshold import BestThreshold
from pipelines.evaluation.evaluator import PREDICTION_SCHEMA, Score, evaluate_predictions

# Exact; half right (one word of gold's three, F1 0.5); wrong; unanswerable and answered; unanswerable and no span.
EXAMPLES = pa.table({"answer_texts": [["rye"], ["oats", "ground by Bo"], ["weir"], [], []]})
ANSWERS = ["the rye", "Bo", "mill", "Ada", None]


def _predictions(no_answer: list[float | None]) -> pa.Table:
    return pa.table([ANSWERS, no_answer], schema=PREDICTION_SCHEMA)


def test_without_abstaining_only_answerable_rows_count() -> None:
    scores = evaluate_predictions(EXAMPLES, _predictions([None] * 5))
    assert astuple(scores.answerable) == pytest.approx((3, 100 / 3, 50.0))
    assert scores.abstaining is None
    assert scores.rows.to_pydict() == {
        "em": [1.0, 0.0, 0.0, None, None],
        "f1": [1.0, 0.5, 0.0, None, None],
        "em_abstaining": [None] * 5,
        "f1_abstaining": [None] * 5,
    }


def test_abstaining() -> None:
    scores = evaluate_predictions(EXAMPLES, _predictions([0.1, 0.6, 0.4, 0.5, 1.0]))
    assert scores.answerable == evaluate_predictions(EXAMPLES, _predictions([None] * 5)).answerable
    assert scores.rows["f1_abstaining"].to_pylist() == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert scores.abstaining is not None
    assert scores.abstaining.total == Score(5, 40.0, 40.0)
    assert astuple(scores.abstaining.answerable) == pytest.approx((3, 100 / 3, 100 / 3))
    assert scores.abstaining.unanswerable == Score(2, 50.0, 50.0)
    # Above 0.1 all others abstain: one right, and both that have no answer.
    assert scores.abstaining.best_em == BestThreshold(60.0, 0.1)
    assert scores.abstaining.best_f1 == BestThreshold(60.0, 0.1)


def test_no_row_with_an_answer() -> None:
    scores = evaluate_predictions(EXAMPLES.slice(3), _predictions([0.9] * 5).slice(3))
    assert scores.answerable.rows == 0
    assert math.isnan(scores.answerable.f1)
    assert scores.abstaining is not None
    assert scores.abstaining.total == Score(2, 100.0, 100.0)


def test_predictions_of_other_examples() -> None:
    with pytest.raises(ValueError, match="zip"):
        evaluate_predictions(EXAMPLES, _predictions([0.5] * 5).slice(1))
