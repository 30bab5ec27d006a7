"""Quarantined rows to show: a few of each reason, from as few files as hold them."""

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

EACH = 3
"""Examples of a reason."""
_FILES_WITHOUT_RECEIPT = 5
_THREADS = 8


def quarantine_samples(parts: Sink, counts: RowCounts) -> pa.Table:
    """Up to EACH rows of every reason, as QUARANTINE_SCHEMA; what cannot be read is left out."""
    names = list(dict.fromkeys(_names(parts, counts)))
    if not names and counts.quarantined:
        names = [f"{QUARANTINE_FOLDER}/{name}" for name in sorted(list_names(parts.store, QUARANTINE_FOLDER))][
            :_FILES_WITHOUT_RECEIPT
        ]
    with ThreadPoolExecutor(_THREADS) as threads:
        tables = list(threads.map(lambda name: _read(parts, name), names))
    rows = pa.concat_tables([QUARANTINE_SCHEMA.empty_table(), *tables])
    reasons = rows["reason"].unique().to_pylist()
    chosen = [rows.filter(pc.equal(rows["reason"], reason)).slice(0, EACH) for reason in reasons]
    return pa.concat_tables([rows.slice(0, 0), *chosen])


def _names(parts: Sink, counts: RowCounts) -> Iterator[str]:
    """For every reason, the first shards that have it: as many as it takes to have EACH rows, one row being sure."""
    bad = counts.receipts.filter(pc.greater(counts.receipts["quarantined"], 0))
    for reason in counts.reasons:
        holding = bad.filter(pc.match_substring(bad["reasons"], f'"{reason}"')).slice(0, EACH)
        for row in holding.select(["unit", "number", "last"]).to_pylist():
            yield parts.quarantine_name(ShardId(**row))


def _read(parts: Sink, name: str) -> pa.Table:
    try:
        data = read_bytes(parts.store.fs, parts.store.path(name))
    except StorageError:
        return QUARANTINE_SCHEMA.empty_table()
    return from_parquet(data)
