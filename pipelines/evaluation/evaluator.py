"""Predictions compared with the gold answers: EM and F1, of a model that must answer and of one that may abstain."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from actors.arrays import Doubles, Flags
from pipelines.evaluation.abstention_threshold import BestThreshold, best_threshold
from pipelines.evaluation.squad_metrics import exact_match, f1

PREDICTION_SCHEMA = pa.schema([("answer", pa.string()), ("no_answer", pa.float64())])
"""One row per example, in their order. answer: the best span, whether the model would abstain or not; null or "" where
there is none. no_answer: null score / (null score + score of that span), 0.0 to 1.0; null where it is not known."""

ABSTAIN_ABOVE = 0.5
"""Above this probability of "no answer" the null answer beats the best span, as with `qa.handle_impossible_answer`."""


@dataclass(frozen=True)
class Score:
    """Mean EM and F1 over some rows, in percent; NaN where there are no rows."""

    rows: int
    em: float
    f1: float

    @classmethod
    def of(cls, em: Doubles, f1: Doubles) -> "Score":
        """The means of [n] scores between 0.0 and 1.0."""
        if not len(em):
            return cls(0, float("nan"), float("nan"))
        return cls(len(em), 100.0 * float(em.mean()), 100.0 * float(f1.mean()))


@dataclass(frozen=True)
class AbstainingScores:
    """SQuAD v2.0: where the passage holds no answer, abstaining is right."""

    total: Score
    answerable: Score
    unanswerable: Score
    """These three abstain above ABSTAIN_ABOVE: over all rows, the answerable and the unanswerable ones."""

    best_em: BestThreshold
    best_f1: BestThreshold


@dataclass(frozen=True)
class PredictionScores:
    """Scores of predictions, in total and row by row."""

    answerable: Score
    """Without abstaining, over the rows that have an answer: the metrics of SQuAD v1.1."""

    abstaining: AbstainingScores | None
    """None unless the probability of "no answer" is known for every row."""

    rows: pa.Table
    """One row per example: `em` and `f1` without abstaining (null where unanswerable), `em_abstaining` and
    `f1_abstaining` (null where `abstaining` is None); float64, 0.0 to 1.0.
    """


def without_abstaining(answers: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The predictions of a model that must answer, as PREDICTION_SCHEMA."""
    return pa.table([answers, pa.nulls(len(answers), pa.float64())], schema=PREDICTION_SCHEMA)


def evaluate_predictions(examples: pa.Table, predictions: pa.Table) -> PredictionScores:
    """Scores predictions by the rules of SQuAD's official script (v2.0).

    v1.1's script scores answerable rows alike, except where a gold answer is empty after normalisation.

    Args:
        examples: EXAMPLE_SCHEMA, of which `answer_texts` is read.
        predictions: PREDICTION_SCHEMA, row by row for the examples.

    Raises:
        ValueError: there are more or fewer predictions than examples.
    """
    answers, gold = predictions["answer"].to_pylist(), examples["answer_texts"].to_pylist()
    # Row by row, because the official script lower-cases and splits words as Python's strings do, and Arrow differs.
    em = np.array([exact_match(*pair) for pair in zip(answers, gold, strict=True)], dtype=np.float64)
    overlap = np.array([f1(*pair) for pair in zip(answers, gold, strict=True)], dtype=np.float64)
    answerable = np.array([bool(texts) for texts in gold], dtype=bool)
    answered = np.array([bool(answer) for answer in answers], dtype=bool)
    columns = {name: pa.array(values, mask=~answerable) for name, values in (("em", em), ("f1", overlap))}
    if predictions["no_answer"].null_count:
        abstaining = None
        decided = dict.fromkeys(("em_abstaining", "f1_abstaining"), pa.nulls(len(gold), pa.float64()))
    else:
        no_answer = predictions["no_answer"].to_numpy()
        abstaining, decided = _abstaining(em, overlap, no_answer, answerable, answered)
    score = Score.of(em[answerable], overlap[answerable])
    return PredictionScores(score, abstaining, pa.table(columns | decided))


def _abstaining(
    em: Doubles, f1: Doubles, no_answer: Doubles, answerable: Flags, answered: Flags
) -> tuple[AbstainingScores, dict[str, pa.Array]]:
    abstains = no_answer > ABSTAIN_ABOVE
    decided = [np.where(abstains, (~answerable).astype(np.float64), scores) for scores in (em, f1)]
    found = AbstainingScores(
        total=Score.of(*decided),
        answerable=Score.of(*(scores[answerable] for scores in decided)),
        unanswerable=Score.of(*(scores[~answerable] for scores in decided)),
        best_em=best_threshold(em, no_answer, answerable, answered),
        best_f1=best_threshold(f1, no_answer, answerable, answered),
    )
    return found, {"em_abstaining": pa.array(decided[0]), "f1_abstaining": pa.array(decided[1])}
