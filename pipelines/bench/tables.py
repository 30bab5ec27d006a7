"""The tables of a run."""

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pipelines.bench.figures import Line, Report
from pipelines.bench.machine import describe
from pipelines.bench.peers import REFERENCE
from pipelines.words import counted


def show(report: Report, console: Console) -> None:
    """Prints all tables."""
    rounds = report.rounds
    tokens = sum(one.tokens for one in rounds) / sum(one.windows for one in rounds)
    console.print(f"{report.task}, model {report.model}, {counted(report.threads, 'thread')} each", soft_wrap=True)
    console.print(
        f"rows: {report.corpus}; {counted(len(rounds), 'round')} of {rounds[0].rows:,}, {tokens:.0f} tokens a window",
        soft_wrap=True,
    )
    console.print(describe(report.machine), soft_wrap=True)
    console.print()
    console.print("Rows a second: medians and ranges over the rounds")
    console.print(_rates(report))
    console.print()
    if len(report.measured) > 1:
        console.print("How many times as fast as the line of that number, medians over the rounds")
        console.print(_ratios(report))
        console.print()
    for line in report.lines:
        if line.state != "measured":
            console.print(f"{line.name}: {line.state}: {line.reason}", soft_wrap=True)


def _rates(report: Report) -> Table:
    agreement = "same span" if report.task == "answer" else "least cosine"
    table = Table(box=None)
    for heading in (
        "",
        "",
        "precision",
        "rows/s",
        "least",
        "most",
        "tokens/s",
        "of the floor",
        f"× {REFERENCE}",
        agreement,
    ):
        table.add_column(heading, justify="left" if heading in ("", "precision") else "right", overflow="fold")
    for name in report.rounds[0].floor_rates:
        rates = [one.rows * statistics.median(one.floor_rates[name]) / one.flops for one in report.rounds]
        speed = statistics.median(rate for one in report.rounds for rate in one.floor_rates[name])
        what = "floor" if name == report.rounds[0].floor else "product"
        shares = [
            statistics.median(one.floor_rates[name]) / statistics.median(one.floor_rates[one.floor])
            for one in report.rounds
        ]
        cells = (
            f"{what}: {name}, {speed / 1e9:,.0f} GFLOP/s",
            "",
            *_spread(rates),
            "",
            f"{statistics.median(shares):.2f}",
        )
        table.add_row("", *cells)
    reference = _reference(report)
    for number, line in enumerate(report.measured, 1):
        named = f"{line.name} ({line.setting})" if line.setting else line.name
        ratio = "" if reference is None else f"{report.ratio(line, reference):.2f}"
        least = min(turn.agreement for turn in line.turns)
        agrees = f"{least:.1%}" if report.task == "answer" else f"{least:.7f}"
        table.add_row(
            str(number), named, line.precision, *_spread(report.rates(line)), f"{report.tokens_per_second(line):,.0f}",
            f"{report.of_floor(line):.2f}", ratio, agrees,
        )  # fmt: skip
    return table


def _ratios(report: Report) -> Table:
    """How many times as fast Spanmill's lines are as every line."""
    lines = report.measured
    table = Table(box=None)
    table.add_column("")
    for number in range(1, len(lines) + 1):
        table.add_column(str(number), justify="right")
    for line in lines:
        if line.is_own:
            table.add_row(line.name, *("" if other is line else f"{report.ratio(line, other):.2f}" for other in lines))
    return table


def _reference(report: Report) -> Line | None:
    return next((line for line in report.measured if line.name == REFERENCE), None)


def _spread(values: Sequence[float]) -> tuple[str, str, str]:
    return tuple(f"{value:,.1f}" for value in (statistics.median(values), min(values), max(values)))  # type: ignore[return-value]
