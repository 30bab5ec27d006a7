"""Cuts passages into overlapping windows: which tokens of its passage each window holds."""

import sys
from dataclasses import dataclass

import numpy as np

from actors.arrays import Flags, Ints
from actors.errors import TooManyWindows


@dataclass(frozen=True)
class Windows:
    """W windows, grouped by owner and in reading order; every array is [W].

    An owner is what gets one result: a row of a QA job, a distinct text of an embedding job.
    """

    owner: Ints
    question: Ints
    """Index of the question's text."""
    passage: Ints
    """Index of the passage's text."""
    first: Ints
    """First passage token in the window, counted from the passage's start."""
    stop: Ints
    """Passage token after the window's last."""

    def __len__(self) -> int:
        return len(self.owner)


def check_fit(question_lengths: Ints, passage_lengths: Ints, room: int, stride: int) -> Flags:
    """Which owners can be cut into windows at all, as a [N] mask.

    A question must leave a token for its passage and, where the passage needs several windows, more than
    the overlap, as `tokenizers` demands of its truncation.
    """
    capacity = room - question_lengths
    return (capacity > 0) & ((passage_lengths <= capacity) | (capacity > stride))


def cut(
    owner: Ints,
    question: Ints,
    passage: Ints,
    lengths: tuple[Ints, Ints],
    room: int,
    stride: int | Ints,
    most: int = sys.maxsize,
) -> Windows:
    """Cuts the passage of every owner into windows that overlap by `stride` tokens.

    Args:
        owner, question, passage: [N] indices; owners must have passed `check_fit`.
        lengths: tokens of each owner's question and passage, [N] each.
        room: tokens of a window that are not special.
        stride: tokens that neighbouring windows share, of all or of each owner, [N].
        most: windows that may be made.

    Raises:
        TooManyWindows: it would be more, and nothing was made.
    """
    question_lengths, passage_lengths = lengths
    capacity = room - question_lengths
    step = np.maximum(capacity - stride, 1)
    excess = np.maximum(passage_lengths - capacity, 0)
    counts = 1 + -(-excess // step)
    if (total := int(counts.sum(dtype=np.int64))) > most:
        raise TooManyWindows(total)
    nth = np.arange(total, dtype=np.int32) - np.repeat(np.cumsum(counts) - counts, counts).astype(np.int32)
    first = nth * np.repeat(step, counts)
    stop = np.minimum(first + np.repeat(capacity, counts), np.repeat(passage_lengths, counts))
    return Windows(
        owner=np.repeat(owner, counts),
        question=np.repeat(question, counts),
        passage=np.repeat(passage, counts),
        first=first.astype(np.int32),
        stop=stop.astype(np.int32),
    )
