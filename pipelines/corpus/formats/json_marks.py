"""The brackets and commas of JSON that stand outside of strings, found by arrays, chunk by chunk."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

_QUOTE, _BACKSLASH = b'"\\'
COMMA, ARRAY, OBJECT = b",[{"
"""Bytes that are marks."""

_STEP = np.zeros(256, np.int8)
_STEP[[ARRAY, OBJECT]] = 1
_STEP[list(b"]}")] = -1
_IS_MARK = _STEP != 0
_IS_MARK[COMMA] = True


@dataclass(frozen=True)
class Found:
    """Brackets and commas outside of strings."""

    place: Places
    """In the chunk."""
    byte: NDArray[np.uint8]
    step: NDArray[np.int8]
    """1 opens, -1 closes, 0 is a comma."""
    depth: Places
    """Behind it."""
    in_array: NDArray[np.bool_]
    """The outermost bracket around it, itself included, is an array's."""

    def until(self, stop: int) -> "Found":
        """The first `stop` of them."""
        return Found(self.place[:stop], self.byte[:stop], self.step[:stop], self.depth[:stop], self.in_array[:stop])


@dataclass
class Marks:
    """Finds brackets and commas; it knows from chunk to chunk how deep it is, and whether in a string."""

    depth: int = 0
    in_string: bool = False
    _in_array: bool = False
    _is_escaped: bool = False
    """The next byte has an odd number of backslashes before it."""

    def take(self, data: NDArray[np.uint8]) -> Found:
        """The marks of the text's next bytes."""
        quotes = self._quotes(data)
        place = np.flatnonzero(_IS_MARK[data])
        outside = (np.searchsorted(quotes, place) + self.in_string) % 2 == 0
        self.in_string = bool((len(quotes) + self.in_string) % 2)
        place = place[outside]
        byte = data[place]
        step = _STEP[byte]
        depth = np.cumsum(step, dtype=np.int64) + self.depth
        found = Found(place, byte, step, depth, self._outermost(byte, depth - step, step))
        if len(place):
            self.depth, self._in_array = int(depth[-1]), bool(found.in_array[-1])
        return found

    def _outermost(self, byte: NDArray[np.uint8], before: Places, step: NDArray[np.int8]) -> NDArray[np.bool_]:
        opens = (before == 0) & (step > 0)
        # The number of the last mark that opened a document, at each mark; -1 before the first of the chunk.
        last = np.maximum.accumulate(np.where(opens, np.arange(len(byte)), -1))
        return np.where(last < 0, self._in_array, byte[last] == ARRAY) if len(byte) else opens

    def _quotes(self, data: NDArray[np.uint8]) -> Places:
        """Quotes that begin or end a string."""
        quotes, slashes = np.flatnonzero(data == _QUOTE), np.flatnonzero(data == _BACKSLASH)
        was_escaped, self._is_escaped = self._is_escaped, False
        if not len(slashes):
            return quotes[1:] if was_escaped and len(quotes) and quotes[0] == 0 else quotes
        begins = np.concatenate(([True], np.diff(slashes) != 1))
        run = slashes[np.maximum.accumulate(np.where(begins, np.arange(len(slashes)), 0))]
        # An escaped backslash at the chunk's beginning is no escape itself.
        escapes = (slashes - run + 1 + (was_escaped & (run == 0))) % 2 == 1
        escaped = slashes[escapes] + 1
        self._is_escaped = bool(escaped.size and escaped[-1] == len(data))
        if was_escaped and slashes[0] != 0:
            escaped = np.concatenate(([0], escaped))
        return quotes[~np.isin(quotes, escaped, assume_unique=True)]
