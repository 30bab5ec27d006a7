"""Rows counted in what is written."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.counts import Counts, read_counts
from pipelines.schema import QUARANTINE_SCHEMA
from pipelines.shards import PartFormat, ShardId, commit
from pipelines.storage import resolve

JOB, OTHER = "0123abcd", "ffffffff"


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_rows_of_this_job_only(tmp_path: Path, format: PartFormat) -> None:
    store = resolve(str(tmp_path))
    empty = QUARANTINE_SCHEMA.empty_table()
    bad = pa.table({name: [None, None] for name in QUARANTINE_SCHEMA.names}, schema=QUARANTINE_SCHEMA)
    for job, rows in ((JOB, 3), (OTHER, 50)):
        commit(store, ShardId(0, 0, False), job, format, pa.table({"id": ["line\nbreak"] * rows}), bad, {})
        commit(store, ShardId(0, 1, True), job, format, pa.table({"id": ["a"]}), empty, {})
    assert read_counts(store, JOB, format) == Counts(rows=4, quarantined=2)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert read_counts(resolve(str(tmp_path / "none")), JOB, "parquet") == Counts(0, 0)
