"""Units become shards of equal size, the last one marked."""

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import CorpusError
from tests.pipelines.helpers import jsonl, plan_of, qa_rows, read_all


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(0, 60),
    group_rows=st.integers(1, 20),
    unit_bytes=st.sampled_from([1, 400, 1 << 20]),
    shard_rows=st.integers(1, 25),
    skip=st.frozensets(st.integers(0, 8)),
)
def test_parquet_rows_once_each(
    rows: int, group_rows: int, unit_bytes: int, shard_rows: int, skip: frozenset[int]
) -> None:
    table = pa.Table.from_pylist(qa_rows(rows), schema=pa.schema([(name, pa.string()) for name in qa_rows(1)[0]]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        pq.write_table(table, path, row_group_size=group_rows)
        plan = plan_of(path, unit_bytes=unit_bytes, shard_rows=shard_rows)
        shards = read_all(plan)
        found = pa.concat_tables([raw.table for raw in shards], promote_options="default")
        assert found.select(table.column_names).to_pylist() == qa_rows(rows)
        assert found["_row"].to_pylist() == list(range(rows))
        for unit in plan.units:
            own = [raw for raw in shards if raw.unit == unit.index]
            assert sum(len(raw.table) for raw in own) == unit.rows
            assert [raw.last for raw in own] == [False] * (len(own) - 1) + [True]
            assert all(len(raw.table) == shard_rows for raw in own[:-1])
        rest = read_all(plan, committed=skip)
        assert [(raw.unit, raw.number, raw.last, raw.table.to_pylist()) for raw in rest] == [
            (raw.unit, raw.number, raw.last, raw.table.to_pylist()) for raw in shards if raw.number not in skip
        ]


def test_committed_row_groups_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(qa_rows(30)), path, row_group_size=10)
    plan = plan_of(path, shard_rows=10)
    data = bytearray(path.read_bytes())
    data[8:150] = b"\xff" * 142
    listed = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(listed.st_atime_ns, listed.st_mtime_ns))
    with pytest.raises(CorpusError):
        read_all(plan)
    assert [raw.number for raw in read_all(plan, committed=frozenset([0]))] == [1, 2]


def test_an_absent_id_column_is_null(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(qa_rows(3)).drop(["id"]), path)
    (raw,) = read_all(plan_of(path))
    assert raw.table["id"].null_count == 3


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz"])
def test_a_unit_without_rows_has_one_empty_shard(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(qa_rows(1)).slice(0, 0), path)
    else:
        path.write_bytes(b"")
    (raw,) = read_all(plan_of(path))
    assert (raw.unit, raw.number, raw.last, len(raw.table)) == (0, 0, True, 0)


def test_a_line_longer_than_many_units(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {"id": "long", "question": "q", "context": "x" * 100_000}
    path.write_bytes(jsonl([row, *qa_rows(3)]))
    shards = read_all(plan_of(path, unit_bytes=1000, shard_rows=2))
    assert sum(len(raw.table) for raw in shards) == 4
    assert len(shards[0].table["_line"][0].as_py()) > 100_000
