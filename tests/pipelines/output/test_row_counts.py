"""Rows counted in receipts, and in what is written."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import ReceiptLog
from pipelines.output.row_counts import read_counts
from pipelines.output.sinks.folder import PartsFolder
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.storage.filesystem import resolve

JOB, OTHER = "0123abcd", "ffffffff"
FORMATS = pytest.mark.parametrize("format", ["parquet", "jsonl"])


def _commit(parts: PartsFolder, shard: ShardId, rows: int, bad: int) -> None:
    quarantine = pa.Table.from_pylist([{"reason": "null_text"}] * bad, QUARANTINE_SCHEMA)
    parts.commit(shard, pa.table({"id": pa.array(["line\nbreak"] * rows, pa.string())}), quarantine, {})


def _receipt(shard: ShardId, rows: int, bad: int) -> Receipt:
    reasons = Counter(null_text=bad) if bad else Counter[str]()
    misfits = Counter({("zip", "null"): bad})
    return Receipt(shard, "a.jsonl", rows=rows, quarantined=bad, reasons=reasons, misfits=misfits)


def _write(parts: PartsFolder, *receipts: Receipt) -> None:
    ledger = ReceiptLog(parts)
    for receipt in receipts:
        ledger.add(receipt)
    ledger.write()


@FORMATS
def test_parts_without_receipts_are_counted_themselves_and_those_of_other_jobs_are_not(
    tmp_path: Path, format: str
) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, format)
    for job, rows in ((JOB, 3), (OTHER, 50)):
        _commit(PartsFolder(parts.store, job, format), ShardId(0, 0, False), rows, 2)
        _commit(PartsFolder(parts.store, job, format), ShardId(0, 1, True), 1, 0)
    counts = read_counts(parts, parts.committed())
    assert (counts.rows, counts.quarantined, counts.without_receipt) == (4, 2, 2)
    assert (counts.reasons, len(counts.receipts)) == (Counter(), 0)


@FORMATS
def test_receipts_and_parts_are_counted_together_each_shard_once(tmp_path: Path, format: str) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, format)
    shards = [ShardId(unit, number, number == 2) for unit in range(3) for number in range(3)]
    for shard in shards[:8]:
        _commit(parts, shard, rows=5, bad=1)
    told = [_receipt(shard, rows=5, bad=1) for shard in shards]
    # Of shard 0 there are two, since two runs raced; the first of 1 tells of a failure, the first of 2 of no work.
    failed = Receipt(shards[1], "a.jsonl", failed_in="model", error="x", rows=70)
    _write(parts, told[0], failed, Receipt(shards[2], "a.jsonl", found=True), told[4])
    _write(parts, told[0], told[1], told[8])
    counts = read_counts(parts, parts.committed())
    assert (counts.rows, counts.quarantined) == (40, 8), "the ninth shard has a receipt and is not committed"
    assert counts.without_receipt == 5
    assert (counts.reasons, counts.misfits) == (Counter(null_text=3), Counter({("zip", "null"): 3}))
    found = Receipt.from_table(counts.receipts.drop(["run"]))
    assert found == [told[0], told[1], told[4]]


def test_receipts_alone_are_enough(tmp_path: Path) -> None:
    """No part is opened for a shard that has a receipt: of a large job, that would be its every file."""
    parts, shard = PartsFolder(resolve(str(tmp_path)), JOB, "parquet"), ShardId(0, 0, True)
    (tmp_path / shard.part_name(JOB, "parquet")).write_bytes(b"no Parquet")
    _write(parts, _receipt(shard, rows=7, bad=2))
    counts = read_counts(parts, parts.committed())
    assert (counts.rows, counts.quarantined, counts.without_receipt) == (7, 2, 0)


def test_quarantine_of_a_shard_that_is_not_committed_does_not_count(tmp_path: Path) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, "parquet")
    _commit(parts, ShardId(0, 0, True), rows=1, bad=1)
    next(tmp_path.glob("part-*")).unlink()
    counts = read_counts(parts, parts.committed())
    assert (counts.rows, counts.quarantined, counts.without_receipt) == (0, 0, 0)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    parts = PartsFolder(resolve(str(tmp_path / "none")), JOB, "parquet")
    counts = read_counts(parts, parts.committed())
    assert (counts.rows, counts.quarantined, counts.without_receipt, len(counts.receipts)) == (0, 0, 0, 0)


def test_one_more_shard(tmp_path: Path) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, "parquet")
    shard = ShardId(0, 0, False)
    _commit(parts, shard, rows=5, bad=1)
    _write(parts, _receipt(shard, rows=5, bad=1))
    before = read_counts(parts, parts.committed())
    after = before.plus(_receipt(ShardId(0, 1, True), rows=3, bad=2))
    assert (after.rows, after.quarantined, after.reasons) == (8, 3, Counter(null_text=3))
    assert after.misfits == Counter({("zip", "null"): 3})
    assert before.reasons == Counter(null_text=1), "the counts before are left as they were"
    assert after.plus(Receipt(shard, "a.jsonl", found=True)) == after


@FORMATS
def test_documents_and_chunks_are_counted_apart(tmp_path: Path, format: str) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, format)
    numbers = [[0, 1, 0, 0, 1, 2], [0], [0, 0, 1]]
    for number, chunk in enumerate(numbers):
        quarantine = pa.Table.from_pylist([{"reason": "no_tokens"}] * number, QUARANTINE_SCHEMA)
        parts.commit(ShardId(0, number, number == 2), pa.table({"chunk": pa.array(chunk, pa.int32())}), quarantine, {})
    untold = read_counts(parts, parts.committed(), has_chunks=True)
    assert (untold.rows, untold.chunks, untold.quarantined, untold.total) == (6, 10, 3, 9)
    _write(parts, Receipt(ShardId(0, 0, False), "a.jsonl", rows=3, chunks=6))
    counts = read_counts(parts, parts.committed(), has_chunks=True)
    assert (counts.rows, counts.chunks, counts.without_receipt) == (6, 10, 2)
    assert counts.by_name()["written_chunks"] == 10
    more = counts.plus(Receipt(ShardId(1, 0, True), "a.jsonl", rows=2, chunks=5))
    assert (more.rows, more.chunks) == (8, 15)


def test_a_job_without_chunks_says_nothing_of_them(tmp_path: Path) -> None:
    parts = PartsFolder(resolve(str(tmp_path)), JOB, "parquet")
    _commit(parts, ShardId(0, 0, True), rows=3, bad=0)
    counts = read_counts(parts, parts.committed()).plus(_receipt(ShardId(1, 0, True), rows=1, bad=0))
    assert counts.chunks is None
    assert "written_chunks" not in counts.by_name()
