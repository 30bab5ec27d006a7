"""Compares runtimes within a time that is given: who is tried, for how many laps, and which one it is then."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from actors.models.runtime_choice import BASELINE, Candidate, Measurement

MARGIN = 1.03
"""What is not faster than torch, or than fewer actors, by more than this is not worth a change."""
_HOPELESS_AT_ONCE, _HOPELESS = 0.5, 0.7
"""Shares of the best rate below which a candidate has no further lap: after the first one, which it had when nobody
else had one, and after those in turns."""
_MOST_LAPS = 4
_LAPS_EXPECTED = 3
"""Of a candidate, the one that warms it up included, while it is considered whether there is time for it."""


class OutOfTime(Exception):
    """A step was not done within the time that it had; none of what was started runs any more."""


class TrialFailed(Exception):
    """A candidate cannot be used; the message says why."""


@dataclass(frozen=True)
class Lap:
    """A run over the sample."""

    tokens: int
    """Without padding."""
    windows: int
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / max(self.seconds, 1e-9)


class Trial(Protocol):
    """Where candidates run."""

    def start(self, candidate: Candidate, seconds: float) -> float:
        """Makes one ready, and warms it up on the sample; gives the seconds that it took.

        Raises:
            TrialFailed: it cannot be used.
            OutOfTime: it takes longer than it may.
        """
        ...

    def lap(self, candidate: Candidate, seconds: float) -> Lap:
        """Runs the sample once; raises as `start`."""
        ...

    def drop(self, candidate: Candidate) -> None:
        """Frees what one holds that has no further lap."""
        ...


@dataclass
class Comparison:
    """Rates of candidates as they come in, and the time that is left for more."""

    trial: Trial
    budget: float
    """Seconds, from the first look at the clock."""
    clock: Callable[[], float] = time.monotonic
    say: Callable[[str], None] = lambda text: None
    """Is told what is measured now."""
    rates: dict[Candidate, float] = field(default_factory=dict)
    """Tokens per second, the best of a candidate's laps."""
    verdicts: dict[Candidate, str] = field(default_factory=dict)
    """Why candidates are out."""
    starts: dict[Candidate, float] = field(default_factory=dict)
    lap_seconds: dict[Candidate, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def seconds(self) -> float:
        """That it has taken so far."""
        return self.clock() - self.began

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.budget - self.seconds

    def run(
        self,
        costs: Mapping[Candidate, float],
        learn: Callable[[Lap], tuple[float, float]] = lambda lap: (float("inf"), 1.0),
    ) -> None:
        """Measures the candidates, the first one in any case, and others while there is time.

        Args:
            costs: seconds until each is ready, about, in the order in which they are tried.
            learn: what the first lap of the first candidate that works says of the budget, in seconds, and how long
                a lap is from then on, as a share of that one.
        """
        try:
            for candidate, cost in costs.items():
                self._try(candidate, cost, learn)
            for lap in range(1, _MOST_LAPS):
                self._leave_out_hopeless(_HOPELESS_AT_ONCE if lap == 1 else _HOPELESS)
                if len(self.in_race) < 2 or sum(self.lap_seconds[one] for one in self.in_race) > self.left:
                    break
                for candidate in self.in_race:
                    if self.lap_seconds[candidate] < self.left:
                        self._lap(candidate)
        except OutOfTime:
            self.say("comparing runtimes: the time for it is over")
        for candidate in costs:
            if candidate not in self.rates:
                self.verdicts.setdefault(candidate, "there was no time for it")

    @property
    def in_race(self) -> list[Candidate]:
        """Candidates with a rate that are not out, the fastest first."""
        return sorted((one for one in self.rates if one not in self.verdicts), key=lambda one: -self.rates[one])

    def _try(self, candidate: Candidate, cost: float, learn: Callable[[Lap], tuple[float, float]]) -> None:
        lap_guess = max(self.lap_seconds.values(), default=0.0)
        expected = cost + _LAPS_EXPECTED * lap_guess
        if self.rates and expected > self.left:
            left = max(self.left, 0.0)
            self.verdicts[candidate] = f"not tried: it would have taken about {expected:.0f} s, with {left:.0f} s left"
            return
        self.say(f"comparing runtimes: starting {candidate}")
        try:
            self.starts[candidate] = self.trial.start(
                candidate, max(self.left, 2 * cost) if not self.rates else self.left
            )
            lap = self._lap(candidate)
        except TrialFailed as failed:
            self.verdicts[candidate] = str(failed)
            return
        except OutOfTime:
            self.verdicts[candidate] = "it was not ready in the time that was left"
            raise
        if len(self.rates) == 1:
            budget, share = learn(lap)
            self.budget = min(self.budget, budget)
            self.lap_seconds[candidate] *= share

    def _lap(self, candidate: Candidate) -> Lap:
        self.say(f"comparing runtimes: {candidate}")
        allowed = max(self.left, 2 * self.lap_seconds.get(candidate, 0.0), 1.0)
        lap = self.trial.lap(candidate, allowed)
        self.lap_seconds[candidate] = lap.seconds
        self.rates[candidate] = max(self.rates.get(candidate, 0.0), lap.rate)
        return lap

    def _leave_out_hopeless(self, least: float) -> None:
        torch = next((one for one in self.in_race if one.backend == BASELINE), None)
        for candidate in self.in_race[1:]:
            share = self.rates[candidate] / max(self.rates.values())
            # Torch stays: it is what all others are held against.
            if share < least and candidate != torch:
                self.verdicts[candidate] = f"{share:.2f} of the best"
                self.trial.drop(candidate)

    def winner(self) -> Candidate | None:
        """The fastest; torch, where nothing is faster by more than `MARGIN`. None where nothing could be measured."""
        ranking = self.in_race
        if not ranking:
            return None
        torch = next((one for one in ranking if one.backend == BASELINE), ranking[0])
        return torch if self.rates[ranking[0]] <= MARGIN * self.rates[torch] else ranking[0]

    def table(self, chosen: Candidate | None, threads: int) -> tuple[Measurement, ...]:
        """What became of every candidate, the fastest first, then those that were not measured."""
        ranked = sorted({*self.rates, *self.verdicts}, key=lambda one: -self.rates.get(one, 0.0))
        return tuple(
            Measurement(
                str(one),
                threads=threads,
                tokens_per_second=round(self.rates[one], 1) if one in self.rates else None,
                start_seconds=round(self.starts[one], 1) if one in self.starts else None,
                verdict="chosen" if one == chosen else self.verdicts.get(one) or self._slower(one, chosen),
            )
            for one in ranked
        )

    def _slower(self, candidate: Candidate, chosen: Candidate | None) -> str:
        if chosen is None:
            return ""
        share = self.rates[candidate] / self.rates[chosen]
        return f"{share:.2f} of the chosen one" + (", which is no change" if share > 1 else "")


def times_torch(rates: Mapping[Candidate, float], chosen: Candidate) -> str:
    """How much faster the chosen one is than torch, in words."""
    by_torch = {one: rate for one, rate in rates.items() if one.backend == BASELINE}
    others = [rate for one, rate in rates.items() if one.backend != BASELINE]
    if chosen.backend == BASELINE:
        if not others:
            return "nothing else could be compared"
        return f"nothing is faster, the best other runtime is {max(others) / rates[chosen]:.2f} times as fast"
    if not by_torch:
        return "the fastest that could be compared"
    torch = max(by_torch, key=lambda one: by_torch[one])
    return f"{rates[chosen] / rates[torch]:.2f} times {torch}"
