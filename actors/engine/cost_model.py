"""What a forward pass costs: a model of time and memory that learns from the passes it has seen.

A pass is described by three sizes: its windows, its tokens and the sum of its windows' squared lengths. Where n
windows are padded to S tokens, these are n, n * S and n * S²; where they lie end to end, there is no padding. Their
weighted sum is the pass's *work*. The time is work times a *rate*, and the rate depends on how many tokens share the
pass: small passes pay for launches, large ones fall out of a CPU's caches or fill a GPU. Neither has a formula that
holds everywhere, so the rate is learnt level by level, a level being half an octave of tokens.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from actors.arrays import Doubles, Ints, Longs
from actors.backends.base import BatchLayout

Amount = float | npt.NDArray[Any]

_RECENT = 8
_HISTORY = 256
_REFIT_EVERY = 16
_LEVELS_PER_OCTAVE = 2
_SAFETY = 1.1
_PULL = 0.2


class PassShape(NamedTuple):
    """What a pass computes."""

    windows: int
    width: int
    """Tokens of the longest window."""
    tokens: int
    """Padding included."""
    squares: int
    """Sum of squared lengths, padding included."""

    @classmethod
    def padded(cls, windows: int, width: int) -> "PassShape":
        """A pass of `windows` windows, all padded to `width` tokens."""
        return cls(windows, width, windows * width, windows * width * width)

    @classmethod
    def of(cls, lengths: Ints | Longs, layout: BatchLayout) -> "PassShape":
        """A pass over windows of these lengths, [n], at least one."""
        width = int(lengths.max())
        if layout is BatchLayout.PADDED:
            return cls.padded(len(lengths), width)
        exact = lengths.astype(np.int64)
        return cls(len(lengths), width, int(exact.sum()), int(exact @ exact))


def of_one_width(windows: Longs, width: int) -> tuple[Longs, Doubles, Doubles]:
    """Windows, tokens and sums of squared lengths of passes over so many windows of one width, [N] each."""
    tokens: Doubles = windows * np.float64(width)
    squares: Doubles = tokens * np.float64(width)
    return windows, tokens, squares


@dataclass
class CostModel:
    """Predicts seconds and bytes of a pass; `observe` teaches it."""

    weights: Doubles = field(default_factory=lambda: np.array([0.0, 1.0, 0.0]))
    """Work of one window, one token, one unit of squared length; the token's is 1."""
    _rates: dict[int, deque[float]] = field(default_factory=dict)
    _curve: tuple[Doubles, Doubles] | None = None
    _sizes: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    _last_seen: dict[int, int] = field(default_factory=dict)
    _bytes_per_unit: float = 0.0
    _largest_units: float = 0.0
    _passes: int = 0

    @staticmethod
    def level(tokens: int) -> int:
        """Half-octave of a number of tokens."""
        return round(_LEVELS_PER_OCTAVE * math.log2(max(tokens, 1)))

    @staticmethod
    def tokens(level: float) -> float:
        """Tokens of a level, the inverse of `level`."""
        return float(2 ** (level / _LEVELS_PER_OCTAVE))

    def work(self, windows: Amount, tokens: Amount, squares: Amount) -> Any:
        """Weighted sum of the three sizes, in units of one token; a number, or an array for arrays."""
        return self.weights[0] * windows + self.weights[1] * tokens + self.weights[2] * squares

    def observe(self, size: PassShape, seconds: float, peak_bytes: int | None = None) -> None:
        """Learns from a finished pass. The very first is forgotten: it pays for warming up."""
        self._passes += 1
        if self._passes == 1:
            return
        level = self.level(size.tokens)
        self._sizes.append((size.windows, size.tokens, size.squares))
        self._seconds.append(seconds)
        rates = self._rates.setdefault(level, deque(maxlen=_RECENT))
        rates.append(seconds / self.work(size.windows, size.tokens, size.squares))
        self._curve = None
        self._last_seen[level] = self._passes
        if peak_bytes is not None:
            self._learn_memory(self._memory_units(size), peak_bytes)
        if len(self._seconds) >= _REFIT_EVERY and self._passes % _REFIT_EVERY == 0:
            self._refit()

    def samples(self, level: int) -> int:
        """How many recent passes of this level are known."""
        return len(self._rates.get(level, ()))

    def passes_since(self, level: int) -> int:
        """How many passes ago this level was last seen."""
        return self._passes - self._last_seen.get(level, -(1 << 30))

    def known_levels(self) -> list[int]:
        """Levels that have been seen, ascending."""
        return sorted(self._rates)

    def rate(self, level: float) -> float:
        """Seconds per unit of work at a level; inf when nothing is known."""
        return float(self.rates(np.array([level]))[0])

    def rates(self, levels: Doubles) -> Doubles:
        """Seconds per unit of work: between known levels by interpolation, beyond them as at the last one."""
        if not self._rates:
            return np.full(levels.shape, math.inf)
        if self._curve is None:
            known = self.known_levels()
            self._curve = np.array(known, dtype=np.float64), np.array([_typical(self._rates[k]) for k in known])
        return np.interp(levels, *self._curve)

    def seconds(self, size: PassShape) -> float:
        """Predicted time of a pass; inf when nothing is known yet."""
        amounts = np.array([[size.windows], [size.tokens], [size.squares]], dtype=np.float64)
        return float(self.seconds_each(*amounts)[0])

    def seconds_each(self, windows: Longs | Doubles, tokens: Doubles, squares: Doubles) -> Doubles:
        """Predicted times of passes of these windows, tokens and sums of squared lengths, [N] each."""
        rates = self.rates(_LEVELS_PER_OCTAVE * np.log2(np.maximum(tokens, 1)))
        predicted: Doubles = rates * self.work(windows, tokens, squares)
        return predicted

    def seconds_at_best(self, windows: int, tokens: int, squares: int) -> float:
        """Predicted time of windows in as many passes as are best, none larger than all of them; inf as above."""
        top = self.level(tokens)
        levels = [level for level in self.known_levels() if level < top]
        return float(self.rates(np.array([*levels, top], np.float64)).min() * self.work(windows, tokens, squares))

    def bytes(self, size: PassShape) -> float:
        """Predicted memory of a pass; 0 when the device reports none."""
        return _SAFETY * self._bytes_per_unit * self._memory_units(size)

    def _learn_memory(self, units: float, peak_bytes: int) -> None:
        # Small passes overstate the slope, since fixed buffers weigh on them: only passes near the largest count.
        per_unit = peak_bytes / units
        if units >= 1.5 * self._largest_units:
            self._bytes_per_unit = per_unit
        elif units >= self._largest_units / 2:
            self._bytes_per_unit = max(self._bytes_per_unit, per_unit)
        self._largest_units = max(self._largest_units, units)

    def _memory_units(self, size: PassShape) -> float:
        # Activations grow with the tokens, and attention scores with the squares at worst.
        return size.tokens + size.squares / 1024

    def _refit(self) -> None:
        """Fits the three weights to relative errors, level rates held still, then renews the rates."""
        sizes = np.array(self._sizes, dtype=np.float64)
        seconds = np.array(self._seconds)
        levels = [self.level(int(tokens)) for tokens in sizes[:, 1]]
        rates = np.array([_typical(self._rates[level]) for level in levels])
        design = sizes * (rates / seconds)[:, None]
        old_work = sizes @ self.weights
        self.weights = _non_negative_fit(design)
        # Levels that the history no longer holds keep their rates, put into the new unit of work.
        unit = float(old_work.sum() / (sizes @ self.weights).sum())
        self._rates = {
            level: deque([rate * unit for rate in known], maxlen=_RECENT) for level, known in self._rates.items()
        }
        renewed: dict[int, deque[float]] = {}
        for size, level, took in zip(sizes, levels, seconds, strict=True):
            renewed.setdefault(level, deque(maxlen=_RECENT)).append(took / self.work(*size))
        self._rates |= renewed
        self._curve = None


def _typical(rates: deque[float]) -> float:
    # Whatever disturbs a pass makes it slower, so the truth lies low: the lower quartile, not the median.
    return sorted(rates)[(len(rates) - 1) // 4]


def _non_negative_fit(design: Doubles) -> Doubles:
    """Least squares for `design @ weights ≈ 1`: no weight below 0, the token's scaled to 1.

    Sizes of one corpus are nearly collinear, so the fit is drawn to "tokens alone cost time" and departs from
    it only as far as the passes insist.
    """
    scale = np.maximum(design.mean(axis=0), 1e-30)
    pull = _PULL * math.sqrt(len(design))
    rows = np.vstack([design / scale, pull * np.eye(3)])
    target = np.concatenate([np.ones(len(design)), pull * np.array([0.0, 1.0, 0.0])])
    free = np.array([True, True, True])
    shares = np.zeros(3)
    for _ in range(3):
        shares[:] = 0.0
        shares[free] = np.linalg.lstsq(rows[:, free], target, rcond=None)[0]
        if (shares >= 0).all():
            break
        free &= shares > 0
    weights = np.maximum(shares, 0.0) / scale
    normalised: Doubles = weights / weights[1] if weights[1] > 0 else np.array([0.0, 1.0, 0.0])
    return normalised
