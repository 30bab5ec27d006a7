"""Statistics for the report, summed over the receipts of a job as Arrow columns: 100,000 shards take a second."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from numpy.typing import NDArray

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.output.receipt import SCORE_BINS

Doubles = NDArray[np.float64]

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class RunStats:
    """What one run of the command committed."""

    run: str
    began: str
    """When the run began, ISO 8601, UTC."""
    seconds: float
    """From its start to its last commit, the start of Ray and the model included."""
    shards: int
    input_rows: int
    """Those written and those quarantined."""
    written_rows: int
    quarantined: int
    store_errors: int


@dataclass(frozen=True)
class NodeStats:
    """What the model actors of one machine did."""

    node: str
    shards: int
    written_rows: int
    """Input rows in parts."""
    tokens: int
    model_seconds: float
    """In forward passes, over all its actors."""


@dataclass(frozen=True)
class SlowShard:
    """One of the shards that took longest."""

    shard: str
    """Unit and number, as in the names of parts."""
    file: str
    node: str
    written_rows: int
    """Input rows in its part."""
    tokens: int
    seconds: float
    """Time that the shard spent at the model actor."""


@dataclass(frozen=True)
class PassTotals:
    """The forward passes of a job."""

    total: PassStats
    tokens: NDArray[np.int64]
    """[N] tokens of every receipt, without padding."""
    seconds: Doubles
    """[N] seconds in forward passes of every receipt."""

    @classmethod
    def of(cls, receipts: pa.Table) -> "PassTotals":
        """Sums the statistics of receipts, a column of JSON, without an object for each of them."""
        total, tokens, seconds = PassStats(), [np.zeros(0, np.int64)], [np.zeros(0)]
        for start in range(0, len(receipts), _ROWS_AT_ONCE):
            stats = _parsed(receipts["stats"].slice(start, _ROWS_AT_ONCE))
            buckets = {int(name): column for name, column in _fields(stats["buckets"]).items()}
            fields = {width: _fields(column) for width, column in buckets.items()}
            total.add(
                PassStats(
                    {
                        width: LengthBucket(**{name: _sum(c) for name, c in columns.items()})
                        for width, columns in fields.items()
                    },
                    Counter({int(limit): _sum(column) for limit, column in _fields(stats["milliseconds"]).items()}),
                    _sum(stats["out_of_memory"]),
                )
            )
            tokens.append(_across([columns["tokens"] for columns in fields.values()], len(stats)).astype(np.int64))
            seconds.append(_across([columns["seconds"] for columns in fields.values()], len(stats)))
        return cls(total, np.concatenate(tokens), np.concatenate(seconds))


def runs(receipts: pa.Table) -> list[RunStats]:
    """Every run that committed a shard, in order of time."""
    sums = receipts.group_by("run").aggregate(
        [("rows", "sum"), ("quarantined", "sum"), ("store_errors", "sum"), ("committed", "max"), ("run", "count")]
    )
    found = []
    for row in sums.sort_by("run").to_pylist():
        began = datetime.strptime(row["run"][:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        found.append(
            RunStats(
                run=row["run"],
                began=began.isoformat(),
                seconds=round(max(row["committed_max"] - began.timestamp(), 0.0), 3),
                shards=row["run_count"],
                input_rows=row["rows_sum"] + row["quarantined_sum"],
                written_rows=row["rows_sum"],
                quarantined=row["quarantined_sum"],
                store_errors=row["store_errors_sum"],
            )
        )
    return found


def nodes(receipts: pa.Table, passes: PassTotals) -> list[NodeStats]:
    """Every machine that ran a model actor, the busiest first."""
    table = receipts.select(["node", "rows"]).append_column("tokens", pa.array(passes.tokens))
    table = table.append_column("seconds", pa.array(passes.seconds))
    sums = table.group_by("node").aggregate([("node", "count"), ("rows", "sum"), ("tokens", "sum"), ("seconds", "sum")])
    return [
        NodeStats(row["node"], row["node_count"], row["rows_sum"], row["tokens_sum"], round(row["seconds_sum"], 3))
        for row in sums.sort_by([("rows_sum", "descending"), ("node", "ascending")]).to_pylist()
    ]


def slowest(receipts: pa.Table, tokens: NDArray[np.int64], count: int = 10) -> list[SlowShard]:
    """The shards that spent the most time at the model actor."""
    table = receipts.append_column("tokens", pa.array(tokens))
    chosen = pc.select_k_unstable(table, count, [("seconds", "descending")])
    return [
        SlowShard(
            f"{row['unit']:05d}-{row['number']:05d}",
            row["file"],
            row["node"],
            row["rows"],
            row["tokens"],
            round(row["seconds"], 3),
        )
        for row in table.take(chosen).to_pylist()
    ]


def scores(receipts: pa.Table) -> list[int]:
    """Answered rows by score, in SCORE_BINS bins from 0 to 1; none in an embedding job."""
    bins = pc.list_flatten(receipts["scores"]).to_numpy().reshape(-1, SCORE_BINS)
    return [int(count) for count in bins.sum(axis=0)] if len(bins) else []


def _parsed(texts: pa.ChunkedArray) -> pa.Table:
    lines = pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], pa.concat_arrays(texts.chunks)), "\n")
    return pyarrow.json.read_json(pa.BufferReader(lines[0].as_buffer()))


def _fields(column: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    # A struct that is null has children that are not: flatten() makes them so.
    return {field.name: child for field, child in zip(column.type, column.flatten(), strict=True)}


def _sum(column: pa.ChunkedArray) -> Any:
    return pc.sum(column).as_py() or 0


def _across(columns: list[pa.ChunkedArray], rows: int) -> Doubles:
    total = np.zeros(rows)
    for column in columns:
        total += column.fill_null(0).to_numpy()
    return total
