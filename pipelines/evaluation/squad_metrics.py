"""Exact match and F1 of answers, as the official script of SQuAD v2.0 has them (Rajpurkar et al. 2016, 2018)."""

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
    """1.0 when the answer equals one of the gold answers, else 0.0; without gold, when there is no answer."""
    return float(normalise(answer or "") in _normalised(gold))


def f1(answer: str | None, gold: Sequence[str]) -> float:
    """Best token F1 of the answer against the gold answers, 0.0 to 1.0; without gold, 1.0 when there is no answer."""
    words = normalise(answer or "").split()
    return max(_f1(words, text.split()) for text in _normalised(gold))


def _normalised(gold: Sequence[str]) -> list[str]:
    """Gold answers of which something is left; of none, the empty answer is the right one."""
    return [text for text in map(normalise, gold) if text] or [""]


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    shared = sum((Counter(answer) & Counter(gold)).values())
    return 2 * shared / (len(answer) + len(gold))
