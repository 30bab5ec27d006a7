"""From which probability of "no answer" on a model had better abstain, as SQuAD v2.0's official script finds it."""

from dataclasses import dataclass

import numpy as np

from actors.arrays import Doubles, Flags


@dataclass(frozen=True)
class BestThreshold:
    """The best that abstaining can give."""

    score: float
    """Mean over all rows, in percent."""

    threshold: float
    """Rows whose probability of "no answer" is above this abstain; 0.0 where abstaining always is best."""


def best_threshold(scores: Doubles, no_answer: Doubles, answerable: Flags, answered: Flags) -> BestThreshold:
    """The threshold with the best mean score. One that lies among equal probabilities cannot be had exactly.

    Args:
        scores: [n] EM or F1 of the answers without abstaining, 0.0 to 1.0.
        no_answer: [n] probability that there is no answer.
        answerable: [n] the passage does say.
        answered: [n] there is an answer that is not empty.
    """
    order = np.argsort(no_answer, kind="stable")
    # AbstainingScores always is right for every unanswerable row; then rows answer, the surest first.
    gains = np.where(answerable, scores, -answered.astype(np.float64))[order]
    none = float(np.count_nonzero(~answerable))
    totals = none + np.cumsum(gains)
    best = int(np.argmax(totals))
    if totals[best] <= none:
        return BestThreshold(100.0 * none / len(scores), 0.0)
    return BestThreshold(100.0 * float(totals[best]) / len(scores), float(no_answer[order[best]]))
