"""Columns of receipts, summed as columns, against the sums that they stand for."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.output.parts import ShardId
from pipelines.output.receipt import RECEIPT_SCHEMA, SCORE_BINS, Receipt
from pipelines.reporting import receipt_stats
from pipelines.reporting.receipt_stats import NodeStats, PassTotals, SlowShard, nodes, runs, scores, slowest

RUN = pa.field("run", pa.string())


def _stats(number: int) -> PassStats:
    """No two alike, and every fifth of a shard without a good row."""
    if number % 5 == 4:
        return PassStats()
    buckets = {
        64 * (1 + number % 3): LengthBucket(2, 9 + number, 100, 120, 0.5),
        256: LengthBucket(1, 1, 250 + number, 256, 0.25),
    }
    return PassStats(buckets, Counter({1 << number % 7: 2, 1024: 1}), number % 2)


def _receipt(number: int) -> Receipt:
    return Receipt(
        ShardId(number // 10, number % 10, False),
        f"{number}.jsonl",
        rows=number,
        quarantined=1,
        seconds=float(number * 7 % 23),
        committed=1_767_323_050.0 + number,
        node=f"n{number % 2}",
        scores=tuple(range(number, number + SCORE_BINS)),
        stats=_stats(number),
    )


RECEIPTS = [_receipt(number) for number in range(23)]
TABLE = Receipt.to_table(RECEIPTS).append_column(
    RUN, pa.array(["20260102T030405-aaaaaa"] * 20 + ["20260103T030405-bbbbbb"] * 3)
)
NONE = RECEIPT_SCHEMA.append(RUN).empty_table()


def test_work_is_that_of_every_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_stats, "_ROWS_AT_ONCE", 5)
    work, expected = PassTotals.of(TABLE), PassStats()
    for receipt in RECEIPTS:
        expected.add(receipt.stats)
    assert work.total == expected
    assert work.tokens.tolist() == [receipt.stats.total.tokens for receipt in RECEIPTS]
    assert work.seconds.tolist() == [receipt.stats.total.seconds for receipt in RECEIPTS]


def test_scores_are_added_bin_by_bin_and_an_embedding_job_has_none() -> None:
    assert scores(TABLE) == [sum(range(i, i + 23)) for i in range(SCORE_BINS)]
    assert scores(Receipt.to_table([Receipt(ShardId(0, 0, True), "a", rows=5)])) == []


def test_the_slowest_shards_come_first() -> None:
    found = slowest(TABLE, PassTotals.of(TABLE).tokens, 3)
    assert [shard.seconds for shard in found] == [22.0, 21.0, 20.0]
    # 7 × 13 is 22 more than three times 23.
    assert found[0] == SlowShard("00001-00003", "13.jsonl", "n1", 13, RECEIPTS[13].stats.total.tokens, 22.0)


def test_runs_in_order_from_their_names() -> None:
    first, second = runs(TABLE)
    assert (first.run, first.began, first.shards) == ("20260102T030405-aaaaaa", "2026-01-02T03:04:05+00:00", 20)
    assert (first.input_rows, first.written_rows, first.quarantined) == (sum(range(20)) + 20, sum(range(20)), 20)
    assert first.seconds == 1_767_323_069 - 1_767_323_045
    assert (second.shards, second.written_rows) == (3, 20 + 21 + 22)


def test_machines_the_busiest_first() -> None:
    odd = RECEIPTS[1::2]
    tokens, seconds = (sum(getattr(r.stats.total, name) for r in odd) for name in ("tokens", "seconds"))
    found = nodes(TABLE, PassTotals.of(TABLE))
    assert [node.node for node in found] == ["n0", "n1"]
    assert found[1] == NodeStats("n1", 11, sum(receipt.rows for receipt in odd), tokens, seconds)


def test_a_job_without_receipts() -> None:
    work = PassTotals.of(NONE)
    assert work.total == PassStats()
    assert (runs(NONE), nodes(NONE, work), slowest(NONE, work.tokens), scores(NONE)) == ([], [], [], [])
    assert work.tokens.dtype == np.int64
