"""The throughput of a job over time, computed from the times of its shards."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

MOST_POINTS = 200
_SHARDS_A_POINT = 3
"""With fewer, the curve shows when single shards ended rather than the throughput."""


@dataclass(frozen=True)
class ThroughputCurve:
    """Throughput over the time that a job was running; the time between two runs is left out."""

    seconds_per_point: float
    rows: list[float]
    """Rows per second."""
    tokens: list[float]
    """Tokens per second, without padding."""
    run_starts: list[float]
    """Seconds that the job had been running when each run began; 0 for the first."""


def throughput_curve(receipts: pa.Table, tokens: NDArray[np.int64]) -> ThroughputCurve:
    """The rows and tokens of every shard spread over the time from its start at the model to its commit."""
    if not len(receipts):
        return ThroughputCurve(0.0, [], [], [])
    ended = receipts["committed"].to_numpy()
    # The start is by the actor's clock and the end by the writer's, which may disagree.
    began = np.minimum(receipts["started"].to_numpy(), ended - 1e-3)
    runs = np.unique(receipts["run"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    spans = [(began[runs == run].min(), ended[runs == run].max()) for run in range(runs.max() + 1)]
    clock = _WorkClock.over(spans)
    began, ended = clock.at(began), clock.at(ended)
    points = int(np.clip(len(receipts) // _SHARDS_A_POINT, 1, MOST_POINTS))
    edges = np.linspace(0.0, clock.total, points + 1)
    done = (receipts["rows"].to_numpy() + receipts["quarantined"].to_numpy(), tokens)
    rows, sums = (np.diff(_cumulated(began, ended, amounts, edges)) / edges[1] for amounts in done)
    starts = sorted(clock.at(np.array([start for start, _ in spans])).tolist())
    return ThroughputCurve(float(edges[1]), rows.tolist(), sums.tolist(), starts)


@dataclass(frozen=True)
class _WorkClock:
    """Converts seconds of the epoch to seconds that the job had been running, without the gaps between spans."""

    starts: Doubles
    lengths: Doubles

    @classmethod
    def over(cls, spans: list[tuple[float, float]]) -> "_WorkClock":
        merged: list[list[float]] = []
        for start, stop in sorted(spans):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], stop)
            else:
                merged.append([start, stop])
        return cls(np.array([start for start, _ in merged]), np.array([stop - start for start, stop in merged]))

    @property
    def total(self) -> float:
        return float(self.lengths.sum())

    def at(self, times: Doubles) -> Doubles:
        span = np.searchsorted(self.starts, times, side="right") - 1
        before = np.concatenate([[0.0], np.cumsum(self.lengths)])
        result: Doubles = before[span] + np.minimum(times - self.starts[span], self.lengths[span])
        return result


def _cumulated(began: Doubles, ended: Doubles, amounts: NDArray[np.int64], edges: Doubles) -> Doubles:
    """The cumulated amount at each edge, when every amount is spread evenly over its time."""
    slopes = amounts / np.maximum(ended - began, 1e-9)
    times = np.concatenate([began, ended])
    order = np.argsort(times, kind="stable")
    times, changes = times[order], np.concatenate([slopes, -slopes])[order]
    grown = np.concatenate([[0.0], np.cumsum(np.cumsum(changes)[:-1] * np.diff(times))])
    result: Doubles = np.interp(edges, times, grown)
    return result
