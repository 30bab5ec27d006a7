"""Examples of bad rows, from as few files as hold them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import ReceiptLog
from pipelines.output.row_counts import read_counts
from pipelines.output.sinks.folder import PartsFolder
from pipelines.reporting.quarantine_samples import SAMPLES_PER_REASON, quarantine_samples
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.storage.filesystem import resolve

SHARDS = [["a", "a"], [], ["a", "b"], ["b"] * 9, ["a"], ["c"]]


def _parts(folder: Path, receipts: bool) -> PartsFolder:
    parts = PartsFolder(resolve(str(folder)), "0123abcd", "parquet")
    ledger = ReceiptLog(parts)
    for number, reasons in enumerate(SHARDS):
        shard = ShardId(0, number, number == len(SHARDS) - 1)
        rows = [{"id": f"{number}-{i}", "reason": reason} for i, reason in enumerate(reasons)]
        bad = pa.Table.from_pylist(rows, QUARANTINE_SCHEMA)
        parts.commit(shard, pa.table({"id": ["x"]}), bad, {})
        ledger.add(Receipt(shard, "f", rows=1, quarantined=len(reasons), reasons=Counter(reasons)))
    if receipts:
        ledger.write()
    return parts


def _found(parts: PartsFolder) -> Sequence[tuple[str, str]]:
    rows = quarantine_samples(parts, read_counts(parts, parts.committed())).to_pylist()
    return [(row["reason"], row["id"]) for row in rows]


def test_some_of_every_reason(tmp_path: Path) -> None:
    found = _found(_parts(tmp_path, receipts=True))
    assert Counter(reason for reason, _ in found) == {"a": SAMPLES_PER_REASON, "b": SAMPLES_PER_REASON, "c": 1}
    assert ("a", "0-0") in found
    assert ("c", "5-0") in found


def test_only_files_that_are_needed_are_read_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    parts = _parts(tmp_path, receipts=True)
    # The first three shards with an "a" are 0, 2 and 4; the only one with a "c" is 5.
    for number in ("00002", "00005z"):
        (tmp_path / "_quarantine" / f"part-00000-{number}-0123abcd.parquet").unlink()
    assert _found(parts) == [("a", "0-0"), ("a", "0-1"), ("a", "4-0"), ("b", "3-0"), ("b", "3-1"), ("b", "3-2")]


def test_without_receipts_the_first_files_are_looked_through(tmp_path: Path) -> None:
    assert {reason for reason, _ in _found(_parts(tmp_path, receipts=False))} == {"a", "b", "c"}
