"""The threshold on the probability of "no answer" that scores best, as SQuAD v2.0's official script finds it."""

from dataclasses import dataclass

import numpy as np

from actors.arrays import Doubles, Flags


@dataclass(frozen=True)
class BestThreshold:
    """The best score that any threshold gives, and that threshold."""

    score: float
    """Mean over all rows, in percent."""

    threshold: float
    """The model abstains where the probability of "no answer" is above this; 0.0 where it should always abstain."""


def best_threshold(scores: Doubles, no_answer: Doubles, answerable: Flags, answered: Flags) -> BestThreshold:
    """The threshold with the best mean score.

    Rows of equal probability are ranked in their order here, so a threshold among them cannot be applied exactly.

    Args:
        scores: [n] EM or F1 of the answers without abstaining, 0.0 to 1.0.
        no_answer: [n] probability that there is no answer.
        answerable: [n] the passage holds an answer.
        answered: [n] the model gave an answer that is not empty.
    """
    order = np.argsort(no_answer, kind="stable")
    # Start from abstaining everywhere, which is right for every unanswerable row; then let rows answer, surest first.
    gains = np.where(answerable, scores, -answered.astype(np.float64))[order]
    none = float(np.count_nonzero(~answerable))
    totals = none + np.cumsum(gains)
    best = int(np.argmax(totals))
    if totals[best] <= none:
        return BestThreshold(100.0 * none / len(scores), 0.0)
    return BestThreshold(100.0 * float(totals[best]) / len(scores), float(no_answer[order[best]]))
