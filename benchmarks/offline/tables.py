"""What several rounds say: rates, shares of the floor, and ratios beside their goals."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.offline.rounds import PIPELINE_WINDOWS, Embedded, Round, Timed
from benchmarks.serving.figures import Figures, Goal, show

_FLOOR = "floor: the speed of a large sgemm"
_FASTEST = "the speed of the fastest product"


@dataclass(frozen=True)
class Goals:
    """What a model's figures should reach."""

    passes: float
    """Share of the floor in the passes."""
    best: float
    """Job against transformers' pipeline at its best."""
    padded: float | None
    """Job against transformers' pipeline with 32 windows a batch."""


@dataclass(frozen=True)
class Rate:
    """Rows per second in every round, and the share of the floor that this is; texts have no floor here."""

    name: str
    rates: tuple[float, ...]
    shares: tuple[float, ...] | None
    of_fastest: tuple[float, ...] | None = None
    """The same of the floor by the fastest product."""


def rates(rounds: Sequence[Round]) -> Iterator[Rate]:
    """Of everything that was timed in all rounds."""
    ones = tuple(1.0 for _ in rounds)
    yield Rate(_FLOOR, tuple(one.rows / one.floor for one in rounds), ones)
    by_fastest = tuple(one.floor / one.fastest_floor for one in rounds)
    yield Rate(_FASTEST, tuple(one.rows / one.fastest_floor for one in rounds), by_fastest, ones)
    for timed in Timed:
        if all(timed in one.seconds for one in rounds):
            seconds = [(one, one.seconds[timed]) for one in rounds]
            per_second = tuple(one.rows / taken for one, taken in seconds)
            of_fastest = tuple(one.fastest_floor / taken for one, taken in seconds)
            yield Rate(timed, per_second, tuple(one.floor / taken for one, taken in seconds), of_fastest)
    for embedded in Embedded:
        if all(embedded in one.embedding for one in rounds):
            yield Rate(f"{embedded}, texts", tuple(one.rows / one.embedding[embedded] for one in rounds), None)


def ratios(rounds: Sequence[Round], goals: Goals) -> Figures:
    """How many times as fast the first is as the second, within each round."""
    figures = Figures("Ratios within a round")
    for one in rounds:
        _against_floor(one, figures, goals)
        if Timed.PIPELINE_1 in one.seconds:
            _against_pipeline(one, figures, goals)
        _embeddings(one, figures)
    return figures


def _against_floor(one: Round, figures: Figures, goals: Goals) -> None:
    seconds = one.seconds
    for name, timed in (("fresh", Timed.FIRST_PASSES), ("again", Timed.AGAIN_PASSES)):
        goal = Goal("≥", goals.passes)
        figures.add(f"engine, {name}: passes / floor", one.floor / seconds[timed], "", goal)
    _add(figures, "engine, fresh: tokens to answers / loop by hand", seconds[Timed.BY_HAND], seconds[Timed.FIRST])
    _add(figures, "engine, again: tokens to answers / loop by hand", seconds[Timed.BY_HAND], seconds[Timed.AGAIN])
    _add(figures, "job / loop by hand", seconds[Timed.BY_HAND], seconds[Timed.JOB], 0.95)
    for name, timed in (("job", Timed.JOB_STEADY), ("large job", Timed.LARGE_STEADY)):
        if timed in seconds:
            _add(figures, f"{name}, from its second commit on / loop by hand", seconds[Timed.BY_HAND], seconds[timed])
    _add(figures, "job / engine, fresh: texts to answers", seconds[Timed.FIRST_TEXTS], seconds[Timed.JOB])
    _add(figures, "job / plain Ray Data", seconds[Timed.PLAIN], seconds[Timed.JOB], 2.0)
    if one.equal_fast_answers is not None:
        _add(figures, "engine, fast / engine, again", seconds[Timed.AGAIN_TEXTS], seconds[Timed.FAST_TEXTS])
        figures.add("answers of the fast engine equal to the exact one's", 100 * one.equal_fast_answers, "%")


def _against_pipeline(one: Round, figures: Figures, goals: Goals) -> None:
    seconds = one.seconds
    best = min(seconds[Timed.pipeline(windows)] for windows in PIPELINE_WINDOWS)
    padded = seconds[Timed.PIPELINE_32]
    for name, timed in (("fresh", Timed.FIRST_TEXTS), ("again", Timed.AGAIN_TEXTS)):
        _add(figures, f"engine, {name} / pipeline at its best", best, seconds[timed])
        _add(figures, f"engine, {name} / pipeline, 32 a batch", padded, seconds[timed])
    _add(figures, "job / pipeline at its best", best, seconds[Timed.JOB], goals.best)
    _add(figures, "job / pipeline, 32 a batch", padded, seconds[Timed.JOB], goals.padded)
    if Timed.FAST_TEXTS in seconds:
        _add(figures, "engine, fast / pipeline at its best", best, seconds[Timed.FAST_TEXTS])
        _add(figures, "engine, fast / pipeline, 32 a batch", padded, seconds[Timed.FAST_TEXTS])
    if one.equal_answers is not None:
        figures.add("answers equal to the pipeline's", 100 * one.equal_answers, "%")


def _embeddings(one: Round, figures: Figures) -> None:
    encode = one.embedding.get(Embedded.ENCODE)
    if encode is None or one.least_cosine is None:
        return
    _add(figures, "embed, fresh / encode", encode, one.embedding[Embedded.FIRST], 1.2)
    _add(figures, "embed, again / encode", encode, one.embedding[Embedded.AGAIN], 1.2)
    figures.add("embed, encode: 1 - least cosine, in millionths", 1e6 * (1 - one.least_cosine), "", Goal("≤", 100))


def _add(figures: Figures, name: str, theirs: float, ours: float, goal: float | None = None) -> None:
    figures.add(name, theirs / ours, "×", None if goal is None else Goal("≥", goal))


def show_all(rounds: Sequence[Round], goals: Goals, console: Console) -> None:
    """Prints both tables."""
    table = Table(title="Rows a second, and share of the floor", title_justify="left", box=None)
    for heading in ("", "median", "least", "most", "of the floor", "least", "most", "of the fastest"):
        table.add_column(heading, justify="right" if heading else "left")
    for rate in rates(rounds):
        shares = () if rate.shares is None else _spread(rate.shares, "{:.3f}".format)
        of_fastest = () if rate.of_fastest is None else (f"{statistics.median(rate.of_fastest):.3f}",)
        table.add_row(rate.name, *_spread(rate.rates, "{:,.1f}".format), *shares, *of_fastest)
    console.print(table)
    console.print()
    show(ratios(rounds, goals), console)


def _spread(values: Sequence[float], written: Callable[[float], str]) -> tuple[str, ...]:
    return tuple(written(value) for value in (statistics.median(values), min(values), max(values)))
