"""Rows that a job has written so far, counted in its parts."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ranges import RangeFile
from pipelines.retries import attempt
from pipelines.shards import QUARANTINE_FOLDER, PartFormat, is_part, list_names
from pipelines.storage import Store, read_bytes

_THREADS = 16


@dataclass(frozen=True)
class Counts:
    """Rows of the committed shards."""

    rows: int
    quarantined: int


def read_counts(store: Store, job8: str, format: PartFormat) -> Counts:
    """Counts the rows of a job's parts: Parquet by its footers, one request or two a part, JSONL by its lines.

    A quarantine file whose part is not committed does not count.

    Raises:
        StorageError: a part cannot be read.
    """
    ending = f"-{job8}.{format}"
    parts = {name for name in list_names(store) if is_part(name) and name.endswith(ending)}
    quarantined = [
        name
        for name in list_names(store, QUARANTINE_FOLDER)
        if is_part(name) and name.removesuffix(".parquet") + f".{format}" in parts
    ]
    count_rows = _footer_rows if format == "parquet" else _lines
    with ThreadPoolExecutor(_THREADS) as threads:
        rows = sum(threads.map(lambda name: count_rows(store, name), sorted(parts)))
        bad = sum(threads.map(lambda name: _footer_rows(store, f"{QUARANTINE_FOLDER}/{name}"), quarantined))
    return Counts(rows, bad)


def _footer_rows(store: Store, name: str) -> int:
    path = store.path(name)
    size = attempt("reading", path, lambda: int(store.fs.info(path)["size"]))
    return int(pq.read_metadata(pa.PythonFile(RangeFile(store.fs, path, size), mode="r")).num_rows)


def _lines(store: Store, name: str) -> int:
    return read_bytes(store.fs, store.path(name)).count(b"\n")
