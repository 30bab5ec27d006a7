"""Devices that exist as formulas, to see what the batcher makes of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from actors.arrays import Ints
from actors.backends.base import BatchLayout
from actors.engine.batcher import Batcher, WindowQueue
from actors.engine.cost_model import PassShape
from actors.parameters import BatchingParameters

Curve = Callable[[int, int], float]


def _exp(x: float) -> float:
    return math.exp(min(x, 500))


def cache_knee(n: int, width: int) -> float:
    """A CPU whose passes outgrow its cache at 1500 tokens and then take nearly twice as long a token."""
    tokens = n * width
    return 2e-4 + tokens * 1e-4 * (1 + 0.9 / (1 + _exp(-(tokens - 1500) / 150))) + tokens * width * 2e-8


def gentle_knee(n: int, width: int) -> float:
    """A CPU with some launch overhead and a soft knee at 3000 tokens."""
    tokens = n * width
    return 2e-3 + tokens * 1e-4 * (1 + 0.25 / (1 + _exp(-(tokens - 3000) / 300))) + tokens * width * 2e-8


def saturating(n: int, width: int) -> float:
    """A GPU: up to 4000 tokens a pass takes what it takes, then time grows with the tokens."""
    tokens = n * width
    return 4e-3 + max(3e-3, tokens * 7e-7) + tokens * width * 1e-10


def quadratic(n: int, width: int) -> float:
    """A small GPU that is full at 8000 tokens, with a share of attention that shows."""
    tokens = n * width
    return 6e-3 + max(0, tokens - 8000) * 2e-6 + tokens * width * 1e-9


def launch_bound(n: int, width: int) -> float:
    """A remote device: 50 ms a call, whatever is in it."""
    return 0.05 + n * width * 1e-7


@dataclass(frozen=True)
class Pass:
    """One pass that was tried."""

    size: PassShape
    real_tokens: int
    waiting: int
    """Windows that waited, these included."""
    seconds: float
    """Without noise."""
    fitted: bool


@dataclass
class Device:
    """A cost curve with multiplicative noise, and memory."""

    curve: Curve
    noise: float = 0.05
    room: float = float("inf")
    """Bytes there are; a pass that needs more raises."""
    reports: bool = False
    """Whether it tells the batcher its room and its peaks."""
    bytes_per_token: float = 1000.0
    bytes_per_square: float = 2.0
    seed: int = 0
    layout: BatchLayout = BatchLayout.PADDED
    passes: list[Pass] = field(default_factory=list)

    def need(self, size: PassShape) -> float:
        """Bytes of a pass: a fixed buffer, activations, attention scores."""
        return 1e6 + self.bytes_per_token * size.tokens + self.bytes_per_square * size.squares

    def batcher(self, parameters: BatchingParameters | None = None) -> Batcher:
        """A batcher for this device, as the engine makes it."""
        parameters = parameters or BatchingParameters()
        return Batcher(parameters, int(self.room * parameters.memory_share) if self.reports else None)

    def run(self, batcher: Batcher, shards: Sequence[Ints], quantum: float = math.inf) -> list[Pass]:
        """Takes the shards through the device, as the engine does; passes are predicted to fit the quantum."""
        rng = np.random.default_rng(self.seed)
        for lengths in shards:
            schedule = WindowQueue(lengths, self.layout)
            while len(schedule):
                size = schedule.shape(batcher.choose(schedule, quantum))
                real = int(lengths[schedule.peek(size.windows)].sum())
                seconds, need = self.curve(size.windows, round(size.tokens / size.windows)), self.need(size)
                self.passes.append(Pass(size, real, len(schedule), seconds, need <= self.room))
                if need > self.room:
                    batcher.out_of_memory(size)
                    continue
                noisy = seconds * float(np.exp(rng.normal() * self.noise))
                batcher.observe(size, noisy, int(need) if self.reports else None)
                schedule.drop(size.windows)
        return self.passes

    def best_rate(self, width: int, waiting: int, parameters: BatchingParameters) -> float:
        """Windows a second of the best fixed number of windows at this width that the limits allow."""
        most = min(waiting, parameters.max_windows, max(parameters.max_tokens // width, 1))
        counts = {
            n for n in np.unique(np.geomspace(1, most, 200).astype(int)).tolist() if n == 1 or self._fits(n, width)
        }
        return float(max(n / self.curve(n, width) for n in counts))

    def _fits(self, n: int, width: int) -> bool:
        return self.need(PassShape.padded(n, width)) <= self.room

    def efficiency(self, passes: Sequence[Pass], parameters: BatchingParameters | None = None) -> float:
        """Throughput of these passes as a share of the best fixed choice at every width; failures cost their time."""
        limits = parameters or BatchingParameters()
        ideal = sum(p.size.windows / self.best_rate(p.size.width, p.waiting, limits) for p in passes if p.fitted)
        return float(ideal / sum(p.seconds for p in passes))


def squad_like(windows: int, seed: int = 0) -> Ints:
    """Lengths like SQuAD's: mean near 180 tokens, a long tail to 384."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.gamma(5, 35, size=windows), 20, 384).astype(np.int32)


def padding(passes: Sequence[Pass]) -> float:
    """Share of padding among the computed tokens."""
    done = [p for p in passes if p.fitted]
    return 1 - sum(p.real_tokens for p in done) / sum(p.size.tokens for p in done)
