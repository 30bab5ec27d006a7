"""Samples of quarantined rows for the report: a few of each reason, read from as few files as possible."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import StorageError
from pipelines.output.encoding import from_parquet
from pipelines.output.parts import QUARANTINE_FOLDER, ShardId, list_names
from pipelines.output.row_counts import RowCounts
from pipelines.output.sinks.base import Sink
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.storage.filesystem import read_bytes

SAMPLES_PER_REASON = 3
"""Samples of one reason."""
_FILES_WITHOUT_RECEIPT = 5
_THREADS = 8


def quarantine_samples(parts: Sink, counts: RowCounts) -> pa.Table:
    """Up to SAMPLES_PER_REASON rows of every reason, as QUARANTINE_SCHEMA; files that cannot be read are left out."""
    names = list(dict.fromkeys(_names(parts, counts)))
    if not names and counts.quarantined:
        names = [f"{QUARANTINE_FOLDER}/{name}" for name in sorted(list_names(parts.store, QUARANTINE_FOLDER))][
            :_FILES_WITHOUT_RECEIPT
        ]
    with ThreadPoolExecutor(_THREADS) as threads:
        tables = list(threads.map(lambda name: _read(parts, name), names))
    rows = pa.concat_tables([QUARANTINE_SCHEMA.empty_table(), *tables])
    reasons = rows["reason"].unique().to_pylist()
    chosen = [rows.filter(pc.equal(rows["reason"], reason)).slice(0, SAMPLES_PER_REASON) for reason in reasons]
    return pa.concat_tables([rows.slice(0, 0), *chosen])


def _names(parts: Sink, counts: RowCounts) -> Iterator[str]:
    """Quarantine files to read: for every reason the first SAMPLES_PER_REASON shards that have it, each with one row or
    more.
    """
    bad = counts.receipts.filter(pc.greater(counts.receipts["quarantined"], 0))
    for reason in counts.reasons:
        holding = bad.filter(pc.match_substring(bad["reasons"], f'"{reason}"')).slice(0, SAMPLES_PER_REASON)
        for row in holding.select(["unit", "number", "last"]).to_pylist():
            yield parts.quarantine_name(ShardId(**row))


def _read(parts: Sink, name: str) -> pa.Table:
    try:
        data = read_bytes(parts.store.fs, parts.store.path(name))
    except StorageError:
        return QUARANTINE_SCHEMA.empty_table()
    return from_parquet(data)
