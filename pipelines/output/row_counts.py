"""Rows that a job has written so far: from the receipts of its runs, and from the parts that have none."""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.output.parts import QUARANTINE_FOLDER, Committed, Parts, ShardId, list_names
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import read_ledger
from pipelines.storage.filesystem import Store, read_bytes
from pipelines.storage.range_reader import RangeFile
from pipelines.storage.retry import attempt

_THREADS = 16


@dataclass(frozen=True)
class RowCounts:
    """Rows of the committed shards."""

    rows: int
    quarantined: int
    reasons: Counter[str]
    """Quarantined rows by reason, as far as there are receipts."""
    receipts: pa.Table
    """One receipt of every committed shard that has one: RECEIPT_SCHEMA and `run`."""
    without_receipt: int
    """Committed shards that have none, since their run was killed: they were counted in the parts themselves."""

    def plus(self, receipt: Receipt) -> "RowCounts":
        """The counts with one more shard; a receipt of no work changes nothing."""
        return replace(
            self,
            rows=self.rows + receipt.rows,
            quarantined=self.quarantined + receipt.quarantined,
            reasons=self.reasons + receipt.reasons,
        )


def read_counts(parts: Parts, committed: Committed) -> RowCounts:
    """Counts the rows of a job's committed parts. Without receipts: Parquet by its footers, JSONL by its lines.

    Raises:
        StorageError: a receipt or a part cannot be read.
    """
    receipts = _one_each(read_ledger(parts), committed)
    known = set(zip(receipts["unit"].to_pylist(), receipts["number"].to_pylist(), strict=True))
    rest = [shard for shard in committed.ids() if (shard.unit, shard.number) not in known]
    rows, quarantined = _count_parts(parts, rest) if rest else (0, 0)
    reasons: Counter[str] = Counter()
    for text in receipts["reasons"].filter(pc.greater(receipts["quarantined"], 0)).to_pylist():
        reasons.update(orjson.loads(text))
    return RowCounts(
        rows=rows + (pc.sum(receipts["rows"]).as_py() or 0),
        quarantined=quarantined + (pc.sum(receipts["quarantined"]).as_py() or 0),
        reasons=reasons,
        receipts=receipts,
        without_receipt=len(rest),
    )


def _one_each(receipts: pa.Table, committed: Committed) -> pa.Table:
    """Of the receipts that tell of work done, the first of every committed shard."""
    done = receipts.filter(pc.and_(pc.equal(receipts["failed_in"], ""), pc.invert(receipts["found"])))
    keys = done["unit"].to_numpy().astype(np.int64) << 32 | done["number"].to_numpy()
    _, first = np.unique(keys, return_index=True)
    present = [int(keys[i] & 0xFFFFFFFF) in committed.numbers(int(keys[i] >> 32)) for i in first]
    return done.take(pa.array(first[np.array(present, dtype=bool)]))


def _count_parts(parts: Parts, shards: Iterable[ShardId]) -> tuple[int, int]:
    names = [shard.part_name(parts.job8, parts.format) for shard in shards]
    quarantine = {parts.quarantine_name(shard) for shard in shards}
    quarantine.intersection_update(f"{QUARANTINE_FOLDER}/{name}" for name in list_names(parts.store, QUARANTINE_FOLDER))
    count_rows = _footer_rows if parts.format == "parquet" else _lines
    with ThreadPoolExecutor(_THREADS) as threads:
        rows = sum(threads.map(lambda name: count_rows(parts.store, name), names))
        bad = sum(threads.map(lambda name: _footer_rows(parts.store, name), quarantine))
    return rows, bad


def _footer_rows(store: Store, name: str) -> int:
    path = store.path(name)
    size = attempt("reading", path, lambda: int(store.fs.info(path)["size"]))
    return int(pq.read_metadata(pa.PythonFile(RangeFile(store.fs, path, size), mode="r")).num_rows)


def _lines(store: Store, name: str) -> int:
    return read_bytes(store.fs, store.path(name)).count(b"\n")
