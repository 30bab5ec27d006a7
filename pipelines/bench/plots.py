"""The plots of a run, by matplotlib, which the extra `bench` brings."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.bench.figures import BatchPoint, Report

_INK, _GREY, _RED = "#1f3b5c", "#8a94a0", "#c2452d"
_MARKERS = "osD^vP*X"
_INCHES, _DPI = (7.0, 4.4), 150
_MODEST = 0.25
"""A prediction that is off by no more is drawn within the band."""


def can_plot() -> bool:
    """Whether matplotlib is installed; it is not imported."""
    return find_spec("matplotlib") is not None


def draw(report: Report, folder: Path) -> list[Path]:
    """Writes every plot that has figures.

    Returns:
        The files.
    """
    curves = report.curves
    plots: dict[str, tuple[bool, Callable[[Any, Report], None]]] = {
        "peers.png": (bool(report.measured), _peers),
        "batch-size.png": (bool(curves.by_batch), _batch_sizes),
        "actors-and-threads.png": (bool(curves.by_actors), _actors),
        "predicted-and-measured.png": (bool(curves.passes), _predictions),
    }
    return [_written(folder / name, report, plot) for name, (is_there, plot) in plots.items() if is_there]


def _written(path: Path, report: Report, plot: Callable[[Any, Report], None]) -> Path:
    # Not pyplot, which keeps figures and asks for a screen.
    from matplotlib.figure import Figure

    lines = len(report.measured)
    size = (_INCHES[0], max(_INCHES[1], 0.34 * lines + 1.4)) if plot is _peers else _INCHES
    figure: Any = Figure(figsize=size, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    plot(axes, report)
    figure.text(0.995, 0.005, _caption(report), ha="right", va="bottom", fontsize=6.5, color=_GREY)
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))
    figure.savefig(path)
    return path


def _caption(report: Report) -> str:
    machine = report.machine
    return f"{report.task}, {report.model}, {machine.gpu or f'{machine.cores} cores of {machine.cpu}'}"


def _titled(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)


def _powers(axis: Any, values: Sequence[float]) -> None:
    """A scale of powers of two with the numbers themselves at their ticks."""
    axis.set_major_locator(_fixed(values))
    axis.set_major_formatter(_plain())
    axis.set_minor_locator(_none())


def _fixed(values: Sequence[float]) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(list(values))


def _plain() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value:g}")


def _whole() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)


def _none() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _peers(axes: Any, report: Report) -> None:
    lines = sorted(report.measured, key=lambda line: float(np.median(report.rates(line))))
    middles = [float(np.median(report.rates(line))) for line in lines]
    ranges = np.array(
        [[m - min(report.rates(one)), max(report.rates(one)) - m] for one, m in zip(lines, middles, strict=True)]
    )
    colours = [_INK if line.is_own else _GREY for line in lines]
    axes.barh(range(len(lines)), middles, color=colours, xerr=ranges.T, error_kw={"ecolor": _RED, "lw": 1}, height=0.7)
    axes.set_yticks(range(len(lines)), [f"{line.name}, {line.precision}" for line in lines], fontsize=8)
    _titled(axes, "Rows a second: medians, and ranges over the rounds", "rows/s", "")


def _batch_sizes(axes: Any, report: Report) -> None:
    points, chosen = report.curves.by_batch, report.curves.its_choice
    sizes = [point.windows for point in points]
    axes.plot(sizes, [point.rows_per_second for point in points], "o-", color=_INK, label="passes of one size")
    if chosen is not None:
        _mark_choice(axes, chosen)
        sizes = [*sizes, chosen.windows]
    axes.set_xscale("log", base=2)
    _powers(axes.xaxis, [point.windows for point in points])
    axes.set_xlim(min(sizes) / 1.2, max(sizes) * 1.2)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e4e7ea", lw=0.7)
    axes.legend(frameon=False, fontsize=9)
    _titled(axes, "Throughput against batch size", "windows a pass", "rows/s")


def _mark_choice(axes: Any, chosen: BatchPoint) -> None:
    axes.axvline(chosen.windows, color=_RED, lw=0.8, ls=":")
    label = f"the batcher's choice: {chosen.windows:.1f} on average"
    axes.plot([chosen.windows], [chosen.rows_per_second], "*", ms=13, color=_RED, label=label)


def _actors(axes: Any, report: Report) -> None:
    points = report.curves.by_actors
    for marker, threads in zip(_MARKERS, sorted({point.threads for point in points}), strict=False):
        line = [point for point in points if point.threads == threads]
        name = f"{threads} thread{'s' if threads > 1 else ''} each"
        axes.plot([p.actors for p in line], [p.rows_per_second for p in line], f"{marker}-", label=name)
        for point in line:
            at, number = (point.actors, point.rows_per_second), f"{point.rows_per_second:,.1f}"
            axes.annotate(number, at, xytext=(7, 6), textcoords="offset points", fontsize=8, color=_GREY)
    axes.set_xscale("log", base=2)
    actors = sorted({point.actors for point in points})
    _powers(axes.xaxis, actors)
    axes.set_xlim(min(actors) / 1.3, max(actors) * 1.3)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e4e7ea", lw=0.7)
    axes.legend(frameon=False, fontsize=9)
    _titled(axes, "Rows a second against actors and threads", "engines at the same time", "rows/s of all together")


def _predictions(axes: Any, report: Report) -> None:
    passes = report.curves.passes
    predicted = np.array([done.predicted for done in passes]) * 1000
    measured = np.array([done.seconds for done in passes]) * 1000
    ends = np.array([min(predicted.min(), measured.min()) / 1.3, max(predicted.max(), measured.max()) * 1.3])
    axes.fill_between(ends, ends * (1 - _MODEST), ends * (1 + _MODEST), color="#eef1f4", label=f"within {_MODEST:.0%}")
    axes.plot(ends, ends, color=_GREY, lw=0.8)
    order = np.arange(len(passes))
    shown = axes.scatter(predicted, measured, c=order, cmap="viridis", s=14, alpha=0.85, label="a pass")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_plain())
        axis.set_minor_formatter(_few(ends))
    bar = axes.figure.colorbar(shown, ax=axes, pad=0.02)
    bar.set_label("pass, in the order of the run", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.locator = _whole()
    bar.update_ticks()
    off = float(np.median(np.abs(measured / predicted - 1)))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    title = f"Passes: predicted and measured time, median error {off:.0%}"
    _titled(axes, title, "predicted before the pass, ms", "measured, ms")


def _few(ends: Any) -> Any:
    """Numbers at ticks between the powers of ten, where there are few powers."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    if ends[1] / ends[0] > 100:
        return NullFormatter()
    digits = "25" if ends[1] / ends[0] > 10 else "123456789"
    return FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in digits else "")
