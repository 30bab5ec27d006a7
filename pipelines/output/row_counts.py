"""Counts the rows that a job has written so far, from receipts, and from the parts themselves where they have none."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.output.parts import QUARANTINE_FOLDER, Committed, ShardId, list_names
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import read_ledger
from pipelines.output.sinks.base import Sink
from pipelines.output.sinks.part_format import PARQUET
from pipelines.rows.misfits import MisfitCounts, misfits_from_json

_THREADS = 16


@dataclass(frozen=True)
class RowCounts:
    """Rows of the committed shards."""

    rows: int
    """Input rows in parts."""
    quarantined: int
    reasons: Counter[str]
    """Quarantined rows by reason, as far as there are receipts."""
    receipts: pa.Table
    """One receipt of every committed shard that has one: RECEIPT_SCHEMA and `run`."""
    without_receipt: int
    """Committed shards that have none, since their run was killed: they were counted in the parts themselves."""
    misfits: MisfitCounts = field(default_factory=Counter)
    """Rows with values that could not be written as they are, as far as there are receipts."""
    chunks: int | None = None
    """Rows of the parts, where each is a chunk of an input row; None in a job whose parts have a row for each."""

    @property
    def total(self) -> int:
        """Input rows: those in parts and those in quarantine."""
        return self.rows + self.quarantined

    def by_name(self) -> dict[str, int | None]:
        """The numbers as logs and files name them, so that no two of them can be taken for each other; that of chunks
        where the job has any.
        """
        return {
            "input_rows": self.total,
            "written_rows": self.rows,
            "answered": self.answered,
            "quarantined": self.quarantined,
            **({} if self.chunks is None else {"written_chunks": self.chunks}),
        }

    @property
    def poison_rows(self) -> int:
        """Rows in quarantine because they broke the model or its worker."""
        return self.reasons["crashed"] + self.reasons["failed"]

    @property
    def answered(self) -> int | None:
        """Rows whose answer is not null; None where a shard has no receipt to tell."""
        return None if self.without_receipt else pc.sum(self.receipts["answered"]).as_py() or 0

    def plus(self, receipt: Receipt) -> "RowCounts":
        """The counts with one more shard; a receipt of no work changes nothing."""
        return replace(
            self,
            rows=self.rows + receipt.rows,
            quarantined=self.quarantined + receipt.quarantined,
            reasons=self.reasons + receipt.reasons,
            misfits=self.misfits + receipt.misfits,
            chunks=self.chunks if receipt.chunks is None else (self.chunks or 0) + receipt.chunks,
        )


def read_counts(parts: Sink, committed: Committed, has_chunks: bool = False) -> RowCounts:
    """Counts the rows of a job's committed parts. Parts without receipts are counted themselves.

    Args:
        has_chunks: whether the rows of the parts are chunks of input rows.

    Raises:
        StorageError: a receipt or a part cannot be read.
    """
    receipts = _one_each(read_ledger(parts), committed)
    known = set(zip(receipts["unit"].to_pylist(), receipts["number"].to_pylist(), strict=True))
    rest = [shard for shard in committed.ids() if (shard.unit, shard.number) not in known]
    in_parts, quarantined = _count_parts(parts, rest) if rest else (0, 0)
    rows = parts.count_documents(rest) if has_chunks and rest else in_parts
    reasons: Counter[str] = Counter()
    for text in receipts["reasons"].filter(pc.greater(receipts["quarantined"], 0)).to_pylist():
        reasons.update(orjson.loads(text))
    misfits: MisfitCounts = Counter()
    for text in receipts["misfits"].filter(pc.greater(pc.binary_length(receipts["misfits"]), len("[]"))).to_pylist():
        misfits.update(misfits_from_json(text))
    return RowCounts(
        rows=rows + (pc.sum(receipts["rows"]).as_py() or 0),
        quarantined=quarantined + (pc.sum(receipts["quarantined"]).as_py() or 0),
        reasons=reasons,
        receipts=receipts,
        without_receipt=len(rest),
        misfits=misfits,
        chunks=in_parts + (pc.sum(receipts["chunks"]).as_py() or 0) if has_chunks else None,
    )


def _one_each(receipts: pa.Table, committed: Committed) -> pa.Table:
    """Of the receipts that tell of work done, the first of every committed shard."""
    done = receipts.filter(pc.and_(pc.equal(receipts["failed_in"], ""), pc.invert(receipts["found"])))
    keys = done["unit"].to_numpy().astype(np.int64) << 32 | done["number"].to_numpy()
    _, first = np.unique(keys, return_index=True)
    present = [int(keys[i] & 0xFFFFFFFF) in committed.numbers(int(keys[i] >> 32)) for i in first]
    return done.take(pa.array(first[np.array(present, dtype=bool)]))


def _count_parts(parts: Sink, shards: Sequence[ShardId]) -> tuple[int, int]:
    quarantine = {parts.quarantine_name(shard) for shard in shards}
    quarantine.intersection_update(f"{QUARANTINE_FOLDER}/{name}" for name in list_names(parts.store, QUARANTINE_FOLDER))
    with ThreadPoolExecutor(_THREADS) as threads:
        bad = sum(threads.map(lambda name: PARQUET.count_rows(parts.store, name), quarantine))
    return parts.count_rows(shards), bad
