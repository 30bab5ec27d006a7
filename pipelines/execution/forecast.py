"""Computes what a whole job will take from the receipts of a sample, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.output.receipt import Receipt

Doubles = NDArray[np.float64]

_RESAMPLES = 2000
_LOW, _HIGH = 5.0, 95.0
_Z = 1.645
"""Of a 90 % interval."""
_NOISE = 0.1
"""A machine is not equally fast all day: times are not known better than this."""


@dataclass(frozen=True)
class Interval:
    """A figure, and where it lies nine times out of ten."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        """The figure in another unit; the factor is positive."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, constant: float) -> "Interval":
        """The figure and something that is known."""
        return Interval(self.value + constant, self.low + constant, self.high + constant)


@dataclass(frozen=True)
class Forecast:
    """What a whole job will take."""

    rows: int
    """Of the corpus, or about."""
    sampled: int
    """Rows that were tried, bad ones included."""
    seconds_per_row: Interval
    """Of the whole pool."""
    startup: float
    """Seconds until the model begins with the first shard: planning, and the start of Ray and of the model."""
    output_bytes: Interval
    quarantined: Interval
    """Share of all rows."""

    @property
    def seconds(self) -> Interval:
        """Duration of the job."""
        return self.seconds_per_row.times(self.rows).plus(self.startup)


def make_forecast(
    receipts: Sequence[Receipt], actors: int, rows: int, shards: int, empty_part_bytes: int, startup: float
) -> Forecast:
    """The forecast of a job of `rows` rows in `shards` parts, from pieces that ran on a pool of `actors`.

    The time of a piece is that of its forward passes. While passes ran, the actors were not always in them: how busy
    they were, from the second piece to the last, says how much longer the job takes than its passes.

    Args:
        receipts: at least two, of pieces with rows.
        empty_part_bytes: size of a part without rows.
    """
    done = sorted((receipt for receipt in receipts if not receipt.failed_in), key=lambda receipt: receipt.committed)
    size = np.array([receipt.rows + receipt.quarantined for receipt in done], dtype=np.float64)
    passes = np.array([receipt.stats.total.seconds for receipt in done])
    # The first piece pays for warming up.
    seconds = _ratio(passes[1:], size[1:]).times(1 / (actors * _busy(done, actors)))
    noisy = Interval(seconds.value, seconds.low * (1 - _NOISE), seconds.high * (1 + _NOISE))
    bad = np.array([receipt.quarantined for receipt in done], dtype=np.float64)
    return Forecast(
        rows=rows,
        sampled=int(size.sum()),
        seconds_per_row=noisy,
        startup=startup,
        output_bytes=_output(done, size, rows, shards, empty_part_bytes),
        quarantined=_share(bad, size),
    )


def _busy(done: Sequence[Receipt], actors: int) -> float:
    """Share of the actors' time that passes took, between the first commit and the last."""
    span = done[-1].committed - done[0].committed
    if span <= 0:
        return 1.0
    return float(min(max(sum(receipt.stats.total.seconds for receipt in done[1:]) / (actors * span), 0.01), 1.0))


def _output(done: Sequence[Receipt], size: Doubles, rows: int, shards: int, empty_part_bytes: int) -> Interval:
    """Bytes of all parts: a line through the pieces tells what a part takes, and what each row adds."""
    body = np.array([max(receipt.bytes - empty_part_bytes, 0) for receipt in done], dtype=np.float64)

    def total(draws: Any) -> Doubles:
        x, y = size[draws], body[draws]
        x_mean, y_mean = x.mean(axis=-1, keepdims=True), y.mean(axis=-1, keepdims=True)
        spread = ((x - x_mean) ** 2).sum(axis=-1)
        slope = ((x - x_mean) * (y - y_mean)).sum(axis=-1) / np.maximum(spread, 1e-9)
        per_row = (y_mean / np.maximum(x_mean, 1e-9))[..., 0]
        # Neither a part nor a row takes less than nothing; pieces of one size do not tell one from the other.
        slope = np.where(spread < 1.0, per_row, np.clip(slope, 0.0, per_row))
        part = y_mean[..., 0] - slope * x_mean[..., 0]
        summed: Doubles = shards * (empty_part_bytes + part) + slope * rows
        return summed

    value = float(total(np.arange(len(done))))
    low, high = np.percentile(total(_draws(len(done))), [_LOW, _HIGH])
    return Interval(value, min(float(low), value), max(float(high), value))


def _draws(pieces: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, pieces, size=(_RESAMPLES, pieces))


def _ratio(amounts: Doubles, sizes: Doubles) -> Interval:
    """Amount per row, pieces drawn again and again: rows of one place are alike, so it is pieces that vary."""
    draws = _draws(len(sizes))
    low, high = np.percentile(_per_row(amounts[draws], sizes[draws]), [_LOW, _HIGH])
    return Interval(float(_per_row(amounts, sizes)), float(low), float(high))


def _per_row(amounts: Doubles, sizes: Doubles) -> Doubles:
    quotient: Doubles = amounts.sum(axis=-1) / np.maximum(sizes.sum(axis=-1), 1)
    return quotient


def _share(bad: Doubles, size: Doubles) -> Interval:
    """A share of rows; where few are bad, drawing pieces again would be too sure of it: Wilson's interval is not."""
    drawn = _ratio(bad, size)
    n, p = max(size.sum(), 1.0), drawn.value
    middle, half = p + _Z**2 / (2 * n), _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    low, high = ((middle + sign * half) / (1 + _Z**2 / n) for sign in (-1, 1))
    return Interval(p, float(max(min(low, drawn.low), 0.0)), float(min(max(high, drawn.high), 1.0)))
