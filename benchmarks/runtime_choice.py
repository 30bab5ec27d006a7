"""How near `model.backend: auto` comes to the best fixed setting: three sizes of models, three mixes of lengths.

    python -m benchmarks.runtime_choice [--seconds 45] [--rounds 3] [--only "long, fast"]

For each model and mix it lets the comparison of a job choose within `--seconds`, on a sample of its windows. Then it
runs every candidate over other windows, in turns, and prints the chosen one's rate as a share of the best one's.
Conversions are made beforehand, as they are made once for a model. Nothing else should run beside it.
"""

import statistics
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, get_args

import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from actors.backends.base import ModelOutput
from actors.engine.inference_task import Wanted
from actors.models.hub import fingerprint
from actors.models.loading import load_spec
from actors.models.runtime_choice import Candidate, candidates
from actors.parameters import BatchingParameters, ModelParameters, QAParameters
from actors.tokenization.preprocess import prepare_pairs
from benchmarks.corpus import pairs_of_length, write_model
from pipelines.execution.runtimes.comparison import Comparison, Lap
from pipelines.execution.runtimes.trial import TrialActor
from pipelines.stages.model.runner import OwnModel

Precision = Literal["exact", "fast"]
SIZES = {"small: 4 x 256": (4, 256), "shipped's: 6 x 384": (6, 384), "base: 6 x 768": (6, 768)}
"""Layers and width."""
MIXES = {"short": 40, "as SQuAD's": 180, "long": 370}
"""Mean tokens of a pair."""
_LAP_TOKENS = {256: 24_000, 384: 8_000, 768: 4_000}
"""Of a lap, by width: about a second of two cores, the shortest that a job takes."""


@dataclass
class LocalTrial:
    """A `Trial` in this process."""

    actor: TrialActor
    windows: pa.Buffer

    def start(self, candidate: Candidate, seconds: float) -> float:
        """See `Trial`."""
        return self.actor.start(candidate, self.windows)

    def lap(self, candidate: Candidate, seconds: float) -> Lap:
        """See `Trial`."""
        return self.actor.lap(candidate, self.windows)

    def drop(self, candidate: Candidate) -> None:
        """See `Trial`."""
        self.actor.drop(candidate)


@dataclass(frozen=True)
class Case:
    """A model, a mix of lengths, and what may be chosen between."""

    size: str
    mix: str
    precision: Precision

    @property
    def width(self) -> int:
        """D."""
        return SIZES[self.size][1]

    def __str__(self) -> str:
        return f"{self.size}, {self.mix}, {self.precision}"


@dataclass(frozen=True)
class Outcome:
    """Of one case."""

    case: Case
    chosen: Candidate
    took: float
    """Seconds of choosing."""
    rates: dict[Candidate, float]
    """Tokens per second of every candidate on other windows, medians."""

    @property
    def best(self) -> Candidate:
        """The fastest fixed setting."""
        return max(self.rates, key=lambda one: self.rates[one])

    @property
    def share(self) -> float:
        """The chosen one's rate, as a share of the best one's."""
        return self.rates[self.chosen] / self.rates[self.best]


def main(
    seconds: Annotated[float, typer.Option(help="That choosing may take.")] = 45.0,
    rounds: Annotated[int, typer.Option(min=1, help="Laps of every candidate afterwards.")] = 3,
    only: Annotated[str, typer.Option(help="Cases with these words in their name, as `long, fast`.")] = "",
) -> None:
    """Prints a table."""
    console, outcomes = Console(width=150), list[Outcome]()
    with tempfile.TemporaryDirectory() as name:
        for case in (Case(*words) for words in product(SIZES, MIXES, get_args(Precision))):
            if only in str(case):
                folder = Path(name) / str(case.width)
                if not folder.is_dir():
                    write_model(folder, *SIZES[case.size])
                outcomes.append(_outcome(case, folder, seconds, rounds))
                console.print(_told(outcomes[-1]))
    table = Table("model", "lengths", "precision", "chosen", "best fixed", "share of the best", "of torch float32", "s")
    for one_outcome in outcomes:
        table.add_row(*_cells(one_outcome))
    console.print(table)


def _outcome(case: Case, folder: Path, seconds: float, rounds: int) -> Outcome:
    parameters = ModelParameters(name=str(folder), precision=case.precision, device="cpu")
    found = candidates(folder, parameters, frozenset({ModelOutput.LOGITS}), on_gpu=False)
    trial = LocalTrial(_actor(folder, parameters), _windows(folder, case, half=0))
    for candidate in found:
        # So that its conversion is there.
        trial.start(candidate, seconds)
        trial.drop(candidate)
    comparison = Comparison(trial, seconds)
    comparison.run(dict.fromkeys(found, 0.0))
    chosen, took = comparison.winner(), comparison.seconds
    assert chosen is not None
    other = LocalTrial(_actor(folder, parameters), _windows(folder, case, half=1))
    return Outcome(case, chosen, took, _rates(other, found, rounds))


def _rates(trial: LocalTrial, found: list[Candidate], rounds: int) -> dict[Candidate, float]:
    laps: dict[Candidate, list[float]] = {candidate: [] for candidate in found}
    for candidate in found:
        trial.start(candidate, 0.0)
    for number in range(rounds):
        for candidate in found[:: 1 if number % 2 else -1]:
            laps[candidate].append(trial.lap(candidate, 0.0).rate)
    return {candidate: statistics.median(rates) for candidate, rates in laps.items()}


def _actor(folder: Path, parameters: ModelParameters) -> TrialActor:
    wanted = Wanted(QAParameters())
    return TrialActor(OwnModel(parameters, BatchingParameters(), wanted, fingerprint(folder, "torch")))


def _windows(folder: Path, case: Case, half: int) -> pa.Buffer:
    """Windows of one half of the generated pairs."""
    mean = MIXES[case.mix]
    questions, passages = pairs_of_length(mean, 2 * max(_LAP_TOKENS[case.width] // mean, 1))
    prepared, _ = prepare_pairs(load_spec(folder), QAParameters(), questions[half::2], passages[half::2])
    return prepared.to_ipc()


def _told(outcome: Outcome) -> str:
    rates = ", ".join(f"{one} {rate:,.0f}" for one, rate in sorted(outcome.rates.items(), key=lambda item: -item[1]))
    return f"{outcome.case}: chose {outcome.chosen} in {outcome.took:.0f} s; {rates}"


def _cells(outcome: Outcome) -> tuple[str, ...]:
    torch = outcome.rates[Candidate("torch", "float32")]
    return (
        outcome.case.size,
        outcome.case.mix,
        outcome.case.precision,
        str(outcome.chosen),
        str(outcome.best),
        f"{outcome.share:.2f}",
        f"{outcome.rates[outcome.chosen] / torch:.2f}",
        f"{outcome.took:.0f}",
    )


if __name__ == "__main__":
    typer.run(main)
