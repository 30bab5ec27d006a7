"""What a run of `spanmill bench` measures: the schema of its `bench.json`.

Times are seconds, rates are per second. Figures of a round are in the order of the rounds.
"""

import statistics
from dataclasses import dataclass, field
from typing import Literal

from pipelines.schemas import JobKind

FORMAT = 1
"""Raised when a key changes its meaning or goes."""

LineState = Literal["measured", "failed", "skipped"]


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cores: int
    """That this process may use."""
    flags: tuple[str, ...]
    """Of the instruction sets that decide the speed of matrix products."""
    memory_gb: float
    gpu: str | None
    python: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Round:
    """What there was to compute in one round, and how fast the machine was in it."""

    rows: int
    windows: int
    tokens: int
    """Of the windows that the engine makes, without padding: they count for all, whatever each computes."""
    flops: float
    """Floating-point operations of the forward passes, without padding."""
    floor_rates: dict[str, tuple[float, ...]]
    """Floating-point operations per second of large matrix products, by what they are, several times in the round."""
    floor: str
    """Which of them is the floor."""

    @property
    def floor_seconds(self) -> float:
        """For all rows at the floor's speed."""
        return self.flops / statistics.median(self.floor_rates[self.floor])


@dataclass(frozen=True)
class Turn:
    """One peer in one round, for all rows of it."""

    seconds: float
    agreement: float
    """Share of rows with the span of the engine in float32, or the least cosine with its vectors."""


@dataclass(frozen=True)
class Line:
    """A peer at a setting: a line of the table."""

    name: str
    peer: str
    what: str
    state: LineState
    reason: str = ""
    """Why it is not measured."""
    is_own: bool = False
    """Whether it is Spanmill."""
    precision: str = ""
    setting: str = ""
    """What the warm-up has chosen."""
    versions: dict[str, str] = field(default_factory=dict)
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class BatchPoint:
    """The engine with passes of one size."""

    windows: float
    rows_per_second: float


@dataclass(frozen=True)
class ScalePoint:
    """Several engines at the same time."""

    actors: int
    threads: int
    """Of each."""
    rows_per_second: float
    """Of all together."""


@dataclass(frozen=True)
class PassPoint:
    """A forward pass, and what the cost model predicted of it before."""

    windows: int
    tokens: int
    predicted: float
    seconds: float


@dataclass(frozen=True)
class Curves:
    """What the plots show; empty with --no-plots."""

    by_batch: tuple[BatchPoint, ...] = ()
    its_choice: BatchPoint | None = None
    """With sizes of the batcher's own choice; `windows` is their mean."""
    by_actors: tuple[ScalePoint, ...] = ()
    passes: tuple[PassPoint, ...] = ()


@dataclass(frozen=True)
class Report:
    """All of it."""

    task: JobKind
    model: str
    threads: int
    corpus: str
    machine: Machine
    rounds: tuple[Round, ...]
    lines: tuple[Line, ...]
    curves: Curves
    is_stopped: bool = False
    """Whether it was stopped before its end: the rounds are those that were whole, and curves may be missing."""
    format: int = FORMAT

    @property
    def measured(self) -> list[Line]:
        """Lines with figures."""
        return [line for line in self.lines if line.state == "measured"]

    def rates(self, line: Line) -> list[float]:
        """Rows a second in each round."""
        return [one.rows / turn.seconds for one, turn in zip(self.rounds, line.turns, strict=True)]

    def tokens_per_second(self, line: Line) -> float:
        """The median over the rounds."""
        pairs = zip(self.rounds, line.turns, strict=True)
        return statistics.median(one.tokens / turn.seconds for one, turn in pairs)

    def of_floor(self, line: Line) -> float:
        """The median share of the floor's speed."""
        pairs = zip(self.rounds, line.turns, strict=True)
        return statistics.median(one.floor_seconds / turn.seconds for one, turn in pairs)

    def ratio(self, line: Line, other: Line) -> float:
        """How many times as fast a line is as another: taken within each round, then the median."""
        pairs = zip(line.turns, other.turns, strict=True)
        return statistics.median(theirs.seconds / ours.seconds for ours, theirs in pairs)
