"""The largest pass that may be tried on a device that has run out of memory: it falls at once, and rises slowly."""

import math
from dataclasses import dataclass

from actors.engine.cost_model import PassShape

_FIRST_WAIT, _MOST_WAIT = 32, 1024
"""Passes near the ceiling before it rises: at first, and after many tries that failed. A pass that does not fit costs
about two, so that a device that is full for good loses a thousandth of its time to them."""
_RISE = math.sqrt(2)


@dataclass
class MemoryCeiling:
    """What a device was full of may be gone later: another process ended, or the allocator's cache was in pieces.

    So the ceiling rises by half an octave after some passes that fitted, and the wait doubles with every rise that did
    not hold.
    """

    tokens: float = math.inf
    """Of the largest pass that may be tried, padding included; inf before the first that did not fit."""
    _held: float = math.inf
    """The ceiling before its last rise, or the largest pass that fitted since."""
    _wait: int = _FIRST_WAIT
    _passes: int = 0
    """Near the ceiling, since it moved."""

    def fell(self, size: PassShape) -> None:
        """Notes a pass that did not fit: half of it comes next, or what fitted before the ceiling rose."""
        if size.tokens > self._held:
            self.tokens, self._wait = self._held, min(2 * self._wait, _MOST_WAIT)
        else:
            self.tokens, self._wait = size.tokens / 2, _FIRST_WAIT
        self._held, self._passes = self.tokens, 0

    def held(self, size: PassShape) -> None:
        """Notes a pass that fitted."""
        if size.tokens > self._held:
            self._held, self._wait = size.tokens, _FIRST_WAIT
        # Small passes say nothing of how much room there is.
        self._passes += size.tokens > self.tokens / 2
        if self._passes >= self._wait:
            self.tokens, self._passes = self.tokens * _RISE, 0
