"""Which windows go into the next forward pass.

Windows are taken in order of length, so that the windows of a pass are of like length (a length bucket that
follows the data), and their number is the one with the best predicted throughput: real work, padding left
out, per predicted second. Sizes that nobody has tried yet are tried from small to large for as long as that
pays, so a CPU settles at small passes and a GPU at large ones.
"""

from dataclasses import dataclass, field

import numpy as np

from actors.costs import CostModel, Size
from actors.errors import WindowTooLarge
from actors.parameters import BatchingParameters
from actors.tokens import Ints, Longs

_TRIES = 2
"""Passes of a level before its rate is believed."""
_SLACK = 1.03
"""Climbing goes on while one of the two largest levels costs at most this times the best."""
_STEP = 2
"""Levels that climbing goes up at once: an octave."""
_STALE = 256
"""A neighbour of the best level is tried again after this many passes."""


class Schedule:
    """The windows of one shard that still wait for a pass, longest first."""

    def __init__(self, lengths: Ints) -> None:
        """Takes the tokens of every window, [W]."""
        self._order: Longs = np.argsort(-lengths, kind="stable")
        self._lengths = lengths[self._order].astype(np.float64)
        self._tokens = np.concatenate([[0.0], np.cumsum(self._lengths)])
        self._squares = np.concatenate([[0.0], np.cumsum(self._lengths**2)])
        self._position = 0

    def __len__(self) -> int:
        """Windows that still wait."""
        return len(self._order) - self._position

    @property
    def width(self) -> int:
        """Tokens of the longest window that waits."""
        return int(self._lengths[self._position])

    def real(self, windows: int) -> tuple[float, float, float]:
        """Windows, tokens and squared lengths of the next `windows` windows, without padding."""
        start, stop = self._position, self._position + windows
        return windows, self._tokens[stop] - self._tokens[start], self._squares[stop] - self._squares[start]

    def peek(self, windows: int) -> Longs:
        """Positions of the next `windows` windows."""
        return self._order[self._position : self._position + windows]

    def drop(self, windows: int) -> None:
        """The next `windows` windows have had their pass."""
        self._position += windows


@dataclass
class Batcher:
    """Chooses the size of passes for one device, and learns from each; it outlives the shards."""

    parameters: BatchingParameters
    memory_limit: int | None = None
    """Bytes a pass may take; None where the device reports none."""
    costs: CostModel = field(default_factory=CostModel)
    _too_large: int | None = None
    """Tokens of the smallest pass that ran out of memory."""

    def out_of_memory(self, size: Size) -> None:
        """Remembers a size that did not fit, so that half of it is tried next.

        Raises:
            WindowTooLarge: it was a single window, so no smaller pass is left to try.
        """
        if size.windows == 1:
            raise WindowTooLarge(
                f"a single window of {size.width} tokens does not fit into the device's memory; "
                "lower max_seq_len, or use a smaller dtype or a larger device"
            )
        self._too_large = min(size.tokens, self._too_large or size.tokens)

    def choose(self, schedule: Schedule) -> int:
        """How many windows the next pass takes; at least 1."""
        width = schedule.width
        fixed = self.parameters.fixed_windows
        if fixed is not None:
            fixed = min(fixed, len(schedule))
            return next((n for n in range(fixed, 1, -1) if self._fits(Size(n, width))), 1)
        sizes = [Size(n, width) for n in _ladder(len(schedule))]
        sizes = [size for size in sizes if self._fits(size)] or [Size(1, width)]
        probe = self._size_to_try(sizes)
        if probe is not None:
            return probe.windows
        top = self.costs.known_levels()[-1]
        tried = [size for size in sizes if self.costs.level(size.tokens) <= top] or sizes[:1]
        return max(tried, key=lambda size: self._throughput(schedule, size)).windows

    def _throughput(self, schedule: Schedule, size: Size) -> float:
        return self.costs.work(*schedule.real(size.windows)) / self.costs.seconds(size)

    def _fits(self, size: Size) -> bool:
        limits = self.parameters
        if size.windows > limits.max_windows or size.tokens > limits.max_tokens:
            return False
        if self._too_large is not None and size.tokens > self._too_large / 2:
            return False
        return self.memory_limit is None or self.costs.bytes(size) <= self.memory_limit

    def _size_to_try(self, sizes: list[Size]) -> Size | None:
        """A size whose rate is not known well enough; None when there is nothing to learn."""
        costs = self.costs
        known = costs.known_levels()
        if not known:
            return sizes[0]
        reachable = {costs.level(size.tokens): size for size in sizes}
        for level in known:
            if costs.samples(level) < _TRIES and level in reachable:
                return reachable[level]
        best, top = min(known, key=costs.rate), known[-1]
        if min(costs.rate(level) for level in known[-2:]) <= _SLACK * costs.rate(best):
            higher = [level for level in reachable if level > top]
            if higher:
                return reachable[min(higher, key=lambda level: abs(level - top - _STEP))]
        for level in (best + 1, best - 1, best + 2, best - 2):
            if level in reachable and costs.passes_since(level) > _STALE:
                return reachable[level]
        return None


def _ladder(most: int) -> list[int]:
    """1 to 8 one by one, then four steps an octave (10, 12, 14, 16, 20, ...), up to `most`, which is included."""
    rungs, rung, step = [], 1, 1
    while rung < most:
        rungs.append(rung)
        if rung >= 8 * step:
            step *= 2
        rung += step
    return [*rungs, most]
