"""Exact match and F1 of answers, as SQuAD v2.0's official script computes them (Rajpurkar et al. 2016, 2018)."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """The text in lower case, without punctuation, articles and repeated blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(answer: str | None, gold: Sequence[str]) -> float:
    """1.0 when the answer equals a gold answer, else 0.0; without gold answers, 1.0 when the answer is empty."""
    return float(normalise(answer or "") in _normalised(gold))


def f1(answer: str | None, gold: Sequence[str]) -> float:
    """Best token F1 against one of the gold answers, 0.0 to 1.0; without gold answers, 1.0 when the answer is empty."""
    words = normalise(answer or "").split()
    return max(_f1(words, text.split()) for text in _normalised(gold))


def _normalised(gold: Sequence[str]) -> list[str]:
    """Gold answers that are not empty once normalised; where there is none, the empty answer."""
    return [text for text in map(normalise, gold) if text] or [""]


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    shared = sum((Counter(answer) & Counter(gold)).values())
    return 2 * shared / (len(answer) + len(gold))
