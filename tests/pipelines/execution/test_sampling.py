"""A small plan that stands for a large one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.execution.sampling import sample_plan
from tests.pipelines.helpers import compressed, jsonl, plan_of, qa_rows, read_all, rows_of, validate_all


def _corpus(folder: Path) -> Path:
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(qa_rows(300)), folder / "a.parquet", row_group_size=20)
    (folder / "b.jsonl").write_bytes(jsonl(qa_rows(300)))
    (folder / "c.jsonl.gz").write_bytes(compressed(jsonl(qa_rows(50)), "gzip"))
    (folder / "d.jsonl").write_bytes(b"")
    return folder


def test_pieces_come_from_all_over_and_are_one_shard_each(tmp_path: Path) -> None:
    plan = plan_of(_corpus(tmp_path / "in"), unit_bytes=2000)
    sample = sample_plan(plan, pieces=30, piece_rows=7)
    assert [unit.index for unit in sample.units] == list(range(30))
    shards = read_all(sample)
    assert [raw.unit for raw in shards] == list(range(30)), "a piece is one shard"
    assert all(len(raw.table) <= 7 for raw in shards)
    assert sum(len(raw.table) for raw in shards) > 130
    rows = rows_of(validate_all(sample))
    assert all(row["question"] == f"Who is {row['id'][1:]}?" for row in rows), "pieces begin where rows do"
    assert len({row["id"] for row in rows}) > 60
    assert {plan.file_of(unit).name for unit in sample.units} >= {"a.parquet", "b.jsonl"}


def test_the_same_plan_gives_the_same_sample(tmp_path: Path) -> None:
    plan = plan_of(_corpus(tmp_path / "in"))
    assert sample_plan(plan, 9, 5) == sample_plan(plan, 9, 5)


def test_an_empty_corpus_has_empty_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert [len(raw.table) for raw in read_all(sample_plan(plan_of(tmp_path), 3, 5))] == [0, 0, 0]
