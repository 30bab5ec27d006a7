"""Which candidates are tried, for how long, and which one it is: with a clock of its own and costs by hand."""

from dataclasses import dataclass, field

import pytest

from actors.models.runtime_choice import Candidate
from pipelines.execution.runtimes.comparison import Comparison, Lap, OutOfTime, TrialFailed, times_torch

TORCH, QUICK, SLOW, EQUAL = (Candidate(name, "float32") for name in ("torch", "quick", "slow", "equal"))
TOKENS = 1000


@dataclass
class Bench:
    """A `Trial` whose steps take the seconds that are given, by its own clock."""

    laps: dict[Candidate, float]
    starts: dict[Candidate, float] = field(default_factory=dict)
    refused: dict[Candidate, str] = field(default_factory=dict)
    now: float = 100.0
    dropped: list[Candidate] = field(default_factory=list)
    ran: list[Candidate] = field(default_factory=list)

    def start(self, candidate: Candidate, seconds: float) -> float:
        if candidate in self.refused:
            raise TrialFailed(self.refused[candidate])
        self._pass(self.starts.get(candidate, 1.0), seconds)
        return self.starts.get(candidate, 1.0)

    def lap(self, candidate: Candidate, seconds: float) -> Lap:
        self._pass(self.laps[candidate], seconds)
        self.ran.append(candidate)
        return Lap(TOKENS, 8, self.laps[candidate])

    def drop(self, candidate: Candidate) -> None:
        self.dropped.append(candidate)

    def _pass(self, takes: float, allowed: float) -> None:
        self.now += min(takes, allowed)
        if takes > allowed:
            raise OutOfTime


def _compared(bench: Bench, budget: float, **costs: float) -> Comparison:
    comparison = Comparison(bench, budget, clock=lambda: bench.now)
    comparison.run({one: costs.get(one.backend, 1.0) for one in (TORCH, QUICK, SLOW, EQUAL) if one in bench.laps})
    return comparison


def test_the_fastest_wins_and_who_is_far_behind_has_one_lap_unless_it_is_torch() -> None:
    bench = Bench({TORCH: 2.0, QUICK: 0.8, SLOW: 3.0})
    found = _compared(bench, 60.0)
    assert found.winner() == QUICK
    assert bench.dropped == [SLOW]
    assert [bench.ran.count(one) for one in (TORCH, QUICK, SLOW)] == [4, 4, 1]
    table = found.table(QUICK, threads=2)
    assert [(one.runtime, one.verdict) for one in table] == [
        ("quick float32", "chosen"),
        ("torch float32", "0.40 of the chosen one"),
        ("slow float32", "0.27 of the best"),
    ]
    assert times_torch(found.rates, QUICK) == "2.50 times torch float32"


def test_torch_stays_where_nothing_is_clearly_faster() -> None:
    found = _compared(Bench({TORCH: 1.0, EQUAL: 0.98}), 60.0)
    assert found.winner() == TORCH
    assert times_torch(found.rates, TORCH) == "nothing is faster, the best other runtime is 1.02 times as fast"
    assert found.table(TORCH, 1)[0].verdict == "1.02 of the chosen one, which is no change"


def test_who_cannot_be_used_is_named_and_the_others_go_on() -> None:
    found = _compared(Bench({TORCH: 1.0, QUICK: 0.5, SLOW: 0.9}, refused={QUICK: "0.3 off torch"}), 60.0)
    assert found.winner() == SLOW
    assert {one.runtime: one.verdict for one in found.table(SLOW, 1)}["quick float32"] == "0.3 off torch"


def test_what_would_take_longer_than_there_is_time_for_is_not_tried() -> None:
    bench = Bench({TORCH: 1.0, QUICK: 0.5, SLOW: 0.9})
    found = _compared(bench, 10.0, quick=22.0)
    assert found.winner() == SLOW
    assert QUICK not in bench.ran
    assert found.verdicts[QUICK] == "not tried: it would have taken about 25 s, with 8 s left"


@pytest.mark.parametrize("budget", [3.0, 10.0, 30.0])
def test_the_time_is_kept_whatever_takes_longer_than_expected(budget: float) -> None:
    found = _compared(Bench({TORCH: 1.0, QUICK: 0.5, SLOW: 0.9}, starts={QUICK: 1000.0}), budget, quick=1.0)
    assert found.seconds <= budget + 1.0
    assert found.winner() == TORCH
    assert found.verdicts[SLOW]


def test_the_first_lap_tells_how_much_time_there_is() -> None:
    bench = Bench({TORCH: 1.0, QUICK: 0.5})
    comparison = Comparison(bench, 60.0, clock=lambda: bench.now)
    comparison.run({TORCH: 1.0, QUICK: 1.0}, lambda lap: (lap.rate / 500.0, 1.0))
    assert comparison.budget == TOKENS / 500.0
    assert QUICK not in bench.ran


def test_without_torch_the_fastest_wins_and_without_any_nobody() -> None:
    found = _compared(Bench({QUICK: 1.0, SLOW: 1.01}), 60.0)
    assert (found.winner(), times_torch(found.rates, QUICK)) == (QUICK, "the fastest that could be compared")
    none = _compared(Bench({TORCH: 1.0}, refused={TORCH: "broken"}), 60.0)
    assert none.winner() is None
    assert [one.verdict for one in none.table(None, 1)] == ["broken"]
