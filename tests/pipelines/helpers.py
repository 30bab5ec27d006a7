"""Small corpora on disk, and the usual way through the readers."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.planning.plan import Plan
from pipelines.planning.planner import make_plan
from pipelines.rows.shard_reader import RawShard, read_unit
from pipelines.rows.validation import ValidShard, validate
from pipelines.schemas import JobKind

SUFFIXES = {None: "", "gzip": ".gz", "zstd": ".zst"}


def qa_rows(count: int) -> list[dict[str, Any]]:
    """Rows of an answer job, all good and all different."""
    return [{"id": f"q{i}", "question": f"Who is {i}?", "context": f"It is number {i}."} for i in range(count)]


def jsonl(rows: Sequence[object]) -> bytes:
    """One line a row; bytes are taken as a line of their own."""
    return b"".join(row + b"\n" if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows)


def compressed(data: bytes, compression: str | None) -> bytes:
    """The data as two members (gzip) or frames (zstd), as `cat a.gz b.gz` would leave it."""
    middle = len(data) // 2
    if compression == "gzip":
        return gzip.compress(data[:middle], 1) + gzip.compress(data[middle:], 1)
    if compression == "zstd":
        return zstandard.compress(data[:middle]) + zstandard.compress(data[middle:])
    return data


def spoil(path: Path, data: bytes) -> None:
    """Other bytes without a trace in the time of change, as a disk might leave them."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def spoil_group(path: Path, group: int, pages: slice = slice(None)) -> None:
    """Spoils some of the bytes of the first column of a row group of a Parquet file."""
    metadata = pq.read_metadata(path).row_group(group)
    column = metadata.column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    places = range(start, start + column.total_compressed_size)[pages]
    data = bytearray(path.read_bytes())
    data[places.start : places.stop] = b"\xff" * len(places)
    spoil(path, bytes(data))


def plan_of(path: Path, kind: JobKind = "answer", **parameters: Any) -> Plan:
    """The plan of a file or folder."""
    chosen = CorpusParameters(**parameters)
    return make_plan(list_files([str(path)], chosen), chosen, kind)


def read_all(plan: Plan, committed: frozenset[int] = frozenset()) -> list[RawShard]:
    """Every shard of every unit."""
    return [raw for unit in plan.units for raw in read_unit(plan.file_of(unit), unit, plan.layout, {}, committed)]


def validate_all(plan: Plan) -> list[ValidShard]:
    """Every shard, validated."""
    return [validate(raw, plan.file_of(plan.units[raw.unit]).name, plan.layout) for raw in read_all(plan)]


def rows_of(shards: Sequence[ValidShard]) -> list[dict[str, Any]]:
    """All valid rows."""
    rows: list[dict[str, Any]] = pa.concat_tables([shard.rows for shard in shards]).to_pylist()
    return rows


def quarantine_of(shards: Sequence[ValidShard]) -> list[dict[str, Any]]:
    """All quarantined rows."""
    rows: list[dict[str, Any]] = pa.concat_tables([shard.quarantine for shard in shards]).to_pylist()
    return rows
