"""Answers as code points → answers as tokens of windows."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from actors.arrays import Ints, Longs
from actors.batch import Batch
from actors.tokenization.tokenized import Tokenized


class Unlearnable(StrEnum):
    """Why a row is not learnt from."""

    NO_TOKENS = "the passage has no tokens"
    QUESTION_TOO_LONG = "the question leaves too little room in a window of qa.max_seq_len tokens"
    NO_WINDOW = "no window of qa.max_seq_len tokens holds the whole answer"


@dataclass(frozen=True)
class SpanLabels:
    """What every window of a `Tokenized` should answer."""

    first: Ints
    """[W] first token of the answer, counted from the window's first passage token; -1 where the window holds none."""
    last: Ints
    """[W] last token of the answer, counted likewise."""
    lost: Ints
    """[X] owners whose answer no window holds whole: it has no token, or is longer than what windows share."""


def label_windows(prepared: Tokenized, start: Longs, stop: Longs) -> SpanLabels:
    """The tokens that the answers touch; a window that does not hold all of them holds no answer.

    Args:
        prepared: pairs with their places.
        start, stop: [owners] the answer's first code point and the one after its last; start -1 where the passage
            does not answer.

    Raises:
        ValueError: the prepared pairs have no places.
    """
    if prepared.places is None:
        raise ValueError("labels need the places of the passages' tokens")
    windows, offsets = prepared.windows, prepared.passage.offsets
    passage = windows.passage[np.flatnonzero(windows.first == 0)].astype(np.int64)
    # One key for all texts: a text's number times more than any text's length, plus the place in it.
    reach = max(int(prepared.places.char_end.max(initial=0)), int(stop.max(initial=0))) + 2
    base = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64) * reach, prepared.passage.lengths)
    first = np.searchsorted(base + prepared.places.char_end, passage * reach + start, side="right") - offsets[passage]
    last = (
        np.searchsorted(base + prepared.places.char_start, passage * reach + stop, side="left") - offsets[passage] - 1
    )
    answered = start >= 0
    owner = windows.owner
    inside = (answered & (first <= last))[owner] & (first[owner] >= windows.first) & (last[owner] < windows.stop)
    held = np.bincount(owner[inside], minlength=len(answered)) > 0
    return SpanLabels(
        first=np.where(inside, first[owner] - windows.first, -1).astype(np.int32),
        last=np.where(inside, last[owner] - windows.first, -1).astype(np.int32),
        lost=np.flatnonzero(answered & ~held).astype(np.int32),
    )


def label_columns(labels: SpanLabels, chosen: Longs, batch: Batch) -> tuple[Longs, Longs]:
    """[n] start and end columns in a batch of the windows at the positions `chosen`; the CLS token for no answer.

    Raises:
        ValueError: a window holds no answer and the batch has no CLS token to say so.
    """
    first, last = labels.first[chosen].astype(np.int64), labels.last[chosen].astype(np.int64)
    held = first >= 0
    if batch.cls is None:
        if not held.all():
            raise ValueError("a window without an answer needs a CLS token")
        return first + batch.passage_start, last + batch.passage_start
    return (
        np.where(held, first + batch.passage_start, batch.cls),
        np.where(held, last + batch.passage_start, batch.cls),
    )
