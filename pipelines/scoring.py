"""Exact match and F1 of answers, by SQuAD v1.1's official normalisation (Rajpurkar et al. 2016)."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and superfluous blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str | None, gold: Sequence[str]) -> float:
    """1.0 when the answer equals one of the gold answers, else 0.0."""
    return float(any(normalise(answer or "") == normalise(text) for text in gold))


def f1(answer: str | None, gold: Sequence[str]) -> float:
    """Best token F1 of the answer against the gold answers, 0.0 to 1.0."""
    return max((_f1(normalise(answer or "").split(), normalise(text).split()) for text in gold), default=0.0)


def _f1(answer: list[str], gold: list[str]) -> float:
    shared = sum((Counter(answer) & Counter(gold)).values())
    return 2 * shared / (len(answer) + len(gold)) if shared else 0.0
