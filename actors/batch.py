"""The tokens of one forward pass: end to end, and padded for those who compute them so."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from actors.arrays import Flags, Ints, Longs

_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True)
class Batch:
    """The T tokens of n windows, window after window.

    `input_ids`, `attention_mask` and `token_type_ids` are the same windows padded on the right to S tokens; they are
    made when they are first asked for.
    """

    ids: Ints
    """[T]"""
    types: Ints | None
    """[T] token types; None for models without."""
    lengths: Longs
    """[n] tokens of each window."""
    passage_start: Longs
    """[n] index of each window's first passage token."""
    passage_length: Longs
    """[n] passage tokens in each window."""
    cls: Longs | None
    """[n] index of each window's CLS token; None where the tokenizer has none."""
    pad_id: int
    """The token that stands on padding."""

    @property
    def windows(self) -> int:
        """The number n of windows."""
        return len(self.lengths)

    @cached_property
    def width(self) -> int:
        """The padded length S, in tokens."""
        return int(self.lengths.max())

    @cached_property
    def first(self) -> Longs:
        """[n] where each window begins among the T tokens."""
        first: Longs = np.cumsum(self.lengths) - self.lengths
        return first

    @cached_property
    def positions(self) -> Ints:
        """[T] place of each token within its window."""
        positions = np.arange(len(self.ids), dtype=np.int32)
        positions -= np.repeat(self.first.astype(np.int32), self.lengths)
        return positions

    @cached_property
    def real(self) -> Flags | None:
        """[n, S] True on tokens, False on padding; None where nothing is padded."""
        if self.windows * self.width == len(self.ids):
            return None
        return np.arange(self.width) < self.lengths[:, None]

    def pad(self, values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        """[n, S, ...] of [T, ...], 0 on padding."""
        shape = self.windows, self.width, *values.shape[1:]
        if self.real is None:
            return values.reshape(shape)
        padded = np.zeros(shape, dtype=values.dtype)
        padded[self.real] = values
        return padded

    def unpad(self, values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        """[T, ...] of [n, S, ...]."""
        return values.reshape(-1, *values.shape[2:]) if self.real is None else values[self.real]

    @cached_property
    def input_ids(self) -> Longs:
        """[n, S]"""
        return self._widened(self.ids, self.pad_id)

    @cached_property
    def attention_mask(self) -> Longs | None:
        """[n, S] 1 for tokens, 0 for padding; None where nothing is padded."""
        return None if self.real is None else self.real.astype(np.int64)

    @cached_property
    def token_type_ids(self) -> Longs | None:
        """[n, S]; None for models without token types."""
        return None if self.types is None else self._widened(self.types, 0)

    def _widened(self, values: Ints, fill: int) -> Longs:
        padded = np.full((self.windows, self.width), fill, dtype=np.int64)
        if self.real is None:
            padded.reshape(-1)[:] = values
        else:
            padded[self.real] = values
        return padded

    @cached_property
    def passage_mask(self) -> Flags:
        """[n, S] True on passage tokens."""
        columns, start = np.arange(self.width, dtype=np.int32), self.passage_start.astype(np.int32)[:, None]
        stop = start + self.passage_length.astype(np.int32)[:, None]
        mask: Flags = (columns >= start) & (columns < stop)
        return mask

    @cached_property
    def answer_mask(self) -> Flags:
        """[n, S] True where an answer may be: on passage tokens, and on the CLS token, which stands for none."""
        if self.cls is None:
            return self.passage_mask
        mask = self.passage_mask.copy()
        mask[np.arange(self.windows), self.cls] = True
        return mask
