"""The report as an HTML page: one file without scripts, which loads nothing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.reporting.report_model import Report
from pipelines.rows.misfits import advice, describe
from pipelines.templates import render as render_template
from pipelines.words import counted

_LINE_WIDTH, _LINE_HEIGHT = 1000, 100
_FEWEST_IN_HISTOGRAM = 20
"""Of fewer rows or passes a histogram shows nothing but where single ones fell."""


@dataclass(frozen=True)
class Steps:
    """A line over time as an SVG path, in a box of 1000 × 100."""

    line: str
    area: str
    top: float
    """The value at the upper edge."""


@dataclass(frozen=True)
class Column:
    """A column of a histogram."""

    label: str
    """Text below the column; empty for none."""
    count: int
    share: float
    """Height as a share of the highest column, 0.0 to 1.0."""
    title: str
    """The tooltip, which says what the column counts."""


def render(report: Report) -> str:
    """The page as HTML. All texts are escaped, because some come from the input."""
    values = {
        "report": report,
        "rows": steps(report.speed.rows),
        "tokens": steps(report.speed.tokens),
        "words": _words(report),
        "scores": _score_columns(report.scores),
        "passes": _pass_columns({int(limit): count for limit, count in report.pass_milliseconds.items()}),
        "most_windows": max((bucket.windows for bucket in report.buckets), default=0),
        "misfits": [describe(one.column, one.outcome, one.rows) for one in report.misfits],
        "misfits_advice": advice((one.column, one.outcome) for one in report.misfits),
        "most_batch": max((bucket.mean_batch for bucket in report.buckets), default=0),
    }
    filters: dict[str, Callable[..., object]] = {
        "number": number,
        "counted": counted,
        "duration": duration,
        "size": size,
    }
    return render_template("pipelines.reporting", "report.html.j2", values, is_html=True, filters=filters)


def steps(values: Sequence[float]) -> Steps:
    """A step line: one horizontal segment for every value."""
    top = nice_top(max(values, default=0.0))
    width = _LINE_WIDTH / max(len(values), 1)
    heights = [_LINE_HEIGHT * (1 - value / top) for value in values]
    line = " ".join(f"{'L' if i else 'M'}{i * width:.1f},{y:.1f}H{(i + 1) * width:.1f}" for i, y in enumerate(heights))
    return Steps(line, f"{line} V{_LINE_HEIGHT} H0 Z" if line else "", top)


def nice_top(value: float) -> float:
    """The smallest of 1, 2, 3, 4, 5, 6, 8 and 10 times a power of ten that is not below the value."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 3, 4, 5, 6, 8) if step * power >= value), 10 * power)


def number(value: float) -> str:
    """The number with thousands separators; below 100, with three significant digits."""
    if isinstance(value, int) or abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits their size: ms, s, min, h or d."""
    if seconds < 100:
        return f"{seconds:.3g} s" if seconds >= 1 or not seconds else f"{1000 * seconds:.3g} ms"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 100:
        return f"{minutes:.0f} min"
    return f"{hours:.1f} h" if hours < 100 else f"{days:.1f} d"


def size(count: float) -> str:
    """Bytes in the unit that suits their number: B, kB, MB, GB or TB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.0f} TB"


def _words(report: Report) -> list[tuple[str, str]]:
    """What the words of this page mean; only of those that are on it."""
    words = [
        ("row", "a question with its passage" if report.subject.kind == "answer" else "a text"),
        (
            "shard",
            "some rows that are computed, committed and, where that fails, tried again together; a part is its file",
        ),
        ("token", "a word or a piece of one, as the model reads text"),
        ("window", "as many tokens as the model reads at once; a longer text is read in several that overlap"),
        ("pass", "one computation of the model over some windows together"),
        (
            "padding",
            "what the shorter windows of a pass are filled up with to the length of its longest: work for nothing; "
            "models of BERT's kind are computed without it",
        ),
        ("rows/s", "rows per second while the model was at work, those in quarantine included"),
    ]
    if report.totals.quarantined:
        words.append(("quarantine", "where rows go that could not be used, each with the reason"))
    if report.store_errors or report.totals.store_errors:
        words.append(("store errors", "calls to the storage that failed, whether or not a second try succeeded"))
    return words


def _score_columns(counts: Sequence[int]) -> list[Column]:
    if sum(counts) < _FEWEST_IN_HISTOGRAM:
        return []
    most, bins = max(counts, default=0), max(len(counts), 1)
    return [
        Column(
            f"{i / bins:g}" if i % 4 == 0 else "",
            count,
            count / most if most else 0.0,
            f"{i / bins:.2f} to {(i + 1) / bins:.2f}: {count:,} rows",
        )
        for i, count in enumerate(counts)
    ]


def _pass_columns(counts: dict[int, int]) -> list[Column]:
    """From the shortest pass to the longest, empty columns between them included."""
    if sum(counts.values()) < _FEWEST_IN_HISTOGRAM:
        return []
    most = max(counts.values())
    powers = range(min(counts).bit_length() - 1, max(counts).bit_length())
    return [
        Column(
            _short(1 << power),
            counts.get(1 << power, 0),
            counts.get(1 << power, 0) / most,
            f"below {duration((1 << power) / 1000)}: {counts.get(1 << power, 0):,} passes",
        )
        for power in powers
    ]


def _short(milliseconds: int) -> str:
    return str(milliseconds) if milliseconds < 1000 else f"{milliseconds // 1000} s"
