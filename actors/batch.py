"""The padded arrays of one forward pass."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from actors.arrays import Flags, Longs


@dataclass(frozen=True)
class Batch:
    """Arrays of n windows, padded on the right to S tokens."""

    input_ids: Longs
    """[n, S]"""
    attention_mask: Longs | None
    """[n, S] 1 for tokens, 0 for padding; None where nothing is padded."""
    token_type_ids: Longs | None
    """[n, S]; None for models without token types."""
    lengths: Longs
    """[n] tokens of each window."""
    passage_start: Longs
    """[n] index of each window's first passage token."""
    passage_length: Longs
    """[n] passage tokens in each window."""
    cls: Longs | None
    """[n] index of each window's CLS token; None where the tokenizer has none."""

    @property
    def windows(self) -> int:
        """The number n of windows."""
        return int(self.input_ids.shape[0])

    @property
    def width(self) -> int:
        """The padded length S, in tokens."""
        return int(self.input_ids.shape[1])

    @cached_property
    def passage_mask(self) -> Flags:
        """[n, S] True on passage tokens."""
        return between(self.width, self.passage_start, self.passage_length)

    @property
    def answer_mask(self) -> Flags:
        """[n, S] True where an answer may be: on passage tokens, and on the CLS token, which stands for none."""
        passage = self.passage_mask
        return passage if self.cls is None else passage | (np.arange(self.width) == self.cls[:, None])


def between(width: int, starts: Longs, lengths: Longs) -> Flags:
    """[n, width] True from each start on, for so many columns."""
    columns = np.arange(width)
    return (columns >= starts[:, None]) & (columns < (starts + lengths)[:, None])
