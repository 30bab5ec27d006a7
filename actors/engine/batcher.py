"""The batcher: chooses how many windows go into the next forward pass, and learns from the passes it has seen.

Windows are taken in order of length. Where a pass pads its windows, they are so of like length (a length bucket that
follows the data); where it packs them, those of one length have their attention together. Their number is the one
with the best predicted throughput: real work, padding left out, per predicted second. Sizes that nobody has tried yet
are tried from small to large for as long as that pays, so a CPU settles at small passes and a GPU at large ones.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from actors.arrays import Doubles, Ints, Longs
from actors.backends.base import BatchLayout
from actors.engine.cost_model import CostModel, PassShape, of_one_width
from actors.engine.memory_ceiling import MemoryCeiling
from actors.errors import WindowTooLarge
from actors.parameters import BatchingParameters

_TRIES = 2
"""Passes of a level before its rate is believed."""
_SLACK = 1.03
"""With padding, climbing goes on while one of the two largest levels costs at most this times the best."""
_PROBE_PADDING = 0.1
"""Most padding of a pass that is tried only to learn."""
_FIRST_TOKENS = 1024
"""Of the first pass that packs its windows: they fill most devices that are not large, and no cache."""
_GAIN = 0.9
"""Without padding the largest passes are no worse for their company, and on a CPU no better either: climbing goes on
only while the largest level costs at most this times the best of the others."""
_HOPELESS = 1.1
"""Without padding, a level that costs more than this times the best after its first pass has no second one."""
_STEP = 2
"""Levels that climbing goes up at once: an octave."""
_STALE = 256
"""A neighbour of the best level is tried again after this many passes."""


class WindowQueue:
    """The windows of one shard that still wait for a pass, longest first."""

    def __init__(self, lengths: Ints, layout: BatchLayout = BatchLayout.PADDED) -> None:
        """Takes the tokens of every window, [W], and how the windows of a pass lie."""
        self._order: Longs = np.argsort(-lengths, kind="stable")
        self._lengths = lengths[self._order].astype(np.float64)
        self._tokens = np.concatenate([[0.0], np.cumsum(self._lengths)])
        self._squares = np.concatenate([[0.0], np.cumsum(self._lengths**2)])
        self.is_packed = layout is BatchLayout.PACKED
        self._position = 0

    def __len__(self) -> int:
        """Windows that still wait."""
        return len(self._order) - self._position

    @property
    def width(self) -> int:
        """Tokens of the longest window that waits."""
        return int(self._lengths[self._position])

    def real(self, windows: Longs) -> tuple[Longs, Doubles, Doubles]:
        """Windows, tokens and squared lengths, without padding, of the next windows: [N] for [N] numbers of them."""
        start, stop = self._position, self._position + windows
        return windows, self._tokens[stop] - self._tokens[start], self._squares[stop] - self._squares[start]

    def computed(self, windows: Longs) -> tuple[Longs, Doubles, Doubles]:
        """As `real`, of what passes over the next windows compute, padding included."""
        return self.real(windows) if self.is_packed else of_one_width(windows, self.width)

    def shape(self, windows: int) -> PassShape:
        """Of a pass over the next windows."""
        if not self.is_packed:
            return PassShape.padded(windows, self.width)
        start, stop = self._position, self._position + windows
        tokens, squares = self._tokens[stop] - self._tokens[start], self._squares[stop] - self._squares[start]
        return PassShape(windows, self.width, int(tokens), int(squares))

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
    """Bytes a pass may take; None where the device reports none. Whoever runs the passes keeps it up to date."""
    costs: CostModel = field(default_factory=CostModel)
    _ceiling: MemoryCeiling = field(default_factory=MemoryCeiling)
    _widest: int = 0
    """Tokens of the longest window that ever fitted."""

    def observe(self, size: PassShape, seconds: float, peak_bytes: int | None = None) -> None:
        """Learns from a pass that took place: its time, its memory, and that it fitted."""
        self.costs.observe(size, seconds, peak_bytes)
        self._ceiling.held(size)
        self._widest = max(self._widest, size.width)

    def out_of_memory(self, size: PassShape) -> bool:
        """Learns from a pass that did not fit, so that a smaller one is tried next, and one of its size much later.

        Returns:
            Whether a smaller one is left to try. Else a single window did not fit, though one so long did before, which
            says that others have the memory now.

        Raises:
            WindowTooLarge: it was a single window, and none so long ever fitted.
        """
        if size.windows == 1 and size.width <= self._widest:
            return False
        if size.windows == 1:
            raise WindowTooLarge(
                f"a single window of {size.width} tokens does not fit into the device's memory; "
                "lower max_seq_len, or use a smaller dtype or a larger device"
            )
        self._ceiling.fell(size)
        return True

    def choose(self, schedule: WindowQueue, quantum: float = math.inf) -> int:
        """How many windows the next pass takes; at least 1.

        Args:
            quantum: longest time that the pass may be predicted to take, in seconds. A single window may take longer.
        """
        fixed = self.parameters.fixed_windows
        if fixed is not None:
            fixed = min(fixed, len(schedule))
            most = next((n for n in range(fixed, 1, -1) if self._fits(schedule.shape(n))), 1)
            return int(self._in_time(schedule, np.arange(1, most + 1), quantum)[-1])
        windows = np.array([n for n in _ladder(len(schedule)) if self._fits(schedule.shape(n))] or [1])
        windows = self._in_time(schedule, windows, quantum)
        probe = self._windows_to_try(schedule, windows)
        if probe is not None:
            return probe
        costs, computed = self.costs, schedule.computed(windows)
        throughput = costs.work(*schedule.real(windows)) / costs.seconds_each(*computed)
        # Beyond the largest level that was ever tried the model knows nothing.
        tried = computed[1] <= CostModel.tokens(costs.known_levels()[-1] + 0.5)
        return int(windows[np.argmax(np.where(tried, throughput, 0.0))])

    def _fits(self, size: PassShape) -> bool:
        limits = self.parameters
        if size.windows > limits.max_windows or size.tokens > min(limits.max_tokens, self._ceiling.tokens):
            return False
        return self.memory_limit is None or self.costs.bytes(size) <= self.memory_limit

    def _in_time(self, schedule: WindowQueue, windows: Longs, quantum: float) -> Longs:
        """Those of several numbers of windows, [N], that are predicted to fit the quantum; always the first."""
        if quantum == math.inf:
            return windows
        # Before any pass was timed every prediction is inf, so the first pass holds one window.
        fits = self.costs.seconds_each(*schedule.computed(windows)) <= quantum
        fits[0] = True
        return windows[fits]

    def _windows_to_try(self, schedule: WindowQueue, windows: Longs) -> int | None:
        """A number of windows whose pass would tell something about the device; None when there is nothing to learn."""
        costs, tokens = self.costs, schedule.computed(windows)[1]
        known = costs.known_levels()
        if not known:
            first = int(np.searchsorted(tokens, _FIRST_TOKENS)) if schedule.is_packed else 0
            return int(windows[min(first, len(windows) - 1)])
        # A pass of unlike lengths would pay more for padding than its size can be worth.
        tight = tokens * (1 - _PROBE_PADDING) <= schedule.real(windows)[1]
        reachable: dict[int, int] = {
            costs.level(int(size)): n for n, size in zip(windows[tight].tolist(), tokens[tight], strict=True)
        }
        rates = costs.rates(np.array(known, dtype=np.float64))
        for level, rate in zip(known, rates, strict=True):
            is_hopeless = schedule.is_packed and rate > _HOPELESS * rates.min()
            if costs.samples(level) < _TRIES and level in reachable and not is_hopeless:
                return reachable[level]
        best, top = known[int(np.argmin(rates))], known[-1]
        if _climbs(rates, schedule.is_packed):
            higher = [level for level in reachable if level > top]
            if higher:
                return reachable[min(higher, key=lambda level: abs(level - top - _STEP))]
        for level in (best + 1, best - 1) if schedule.is_packed else (best + 1, best - 1, best + 2, best - 2):
            if level in reachable and costs.passes_since(level) > _STALE:
                return reachable[level]
        return None


def _climbs(rates: Doubles, is_packed: bool) -> bool:
    """Whether a larger pass than all before should be tried, by the rates of the levels that are known, ascending."""
    if is_packed:
        return len(rates) == 1 or bool(rates[-1] <= _GAIN * rates[:-1].min())
    return bool(rates[-2:].min() <= _SLACK * rates.min())


def _ladder(most: int) -> list[int]:
    """1 to 8 one by one, then four steps an octave (10, 12, 14, 16, 20, ...), up to `most`, which is included."""
    rungs, rung, step = [], 1, 1
    while rung < most:
        rungs.append(rung)
        if rung >= 8 * step:
            step *= 2
        rung += step
    return [*rungs, most]
