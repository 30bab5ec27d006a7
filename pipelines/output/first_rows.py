"""The first rows that a job has written, for people to look at."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.output.parts import Committed
from pipelines.output.sinks.base import Sink
from pipelines.output.sinks.folder import PartsFolder
from pipelines.output.sinks.part_format import JSONL, PARQUET
from pipelines.storage.filesystem import Store, read_bytes
from pipelines.storage.range_reader import RangeFile
from pipelines.storage.retry import attempt


def can_show(sink: str, format: str) -> bool:
    """Whether `first_rows` reads what `output.sink` and `output.format` name."""
    return sink == "folder" and format in ("parquet", "jsonl")


def first_rows(parts: Sink, committed: Committed, count: int) -> list[dict[str, Any]]:
    """The first rows of the committed parts, in the order of the plan; of parts of one's own format or sink none.

    Raises:
        StorageError: a part cannot be read.
    """
    if not isinstance(parts, PartsFolder) or parts.part_format not in (PARQUET, JSONL):
        return []
    read = _from_parquet if parts.part_format is PARQUET else _from_jsonl
    shards = sorted(committed.ids(), key=lambda shard: (shard.unit, shard.number))
    rows = (row for shard in shards for row in read(parts.store, parts.part_name(shard), count))
    return list(islice(rows, count))


def _from_parquet(store: Store, name: str, count: int) -> Iterator[dict[str, Any]]:
    path = store.path(name)
    size = attempt("reading", path, lambda: int(store.fs.info(path)["size"]))
    file = pq.ParquetFile(pa.PythonFile(RangeFile(store.fs, path, size), mode="r"))
    for batch in file.iter_batches(count):
        yield from batch.to_pylist()


def _from_jsonl(store: Store, name: str, count: int) -> Iterator[dict[str, Any]]:
    for line in read_bytes(store.fs, store.path(name)).split(b"\n", count)[:count]:
        if line:
            yield orjson.loads(line)
