"""A small plan that stands for a large one."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from pipelines.execution.sampling import SampleSize, counted_plan, sample_plan, sample_size
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


@given(rows=st.integers(0, 10**7), wanted=st.integers(16, 2048))
def test_a_sample_is_a_quarter_of_the_corpus_at_most(rows: int, wanted: int) -> None:
    size = sample_size(rows, pieces=24, piece_rows=wanted, fewest_pieces=3)
    assert 3 <= size.pieces <= 24
    assert 1 <= size.piece_rows <= wanted
    # Every other piece is half as long.
    long, short = -(-size.pieces // 2), size.pieces // 2
    tried = long * size.piece_rows + short * max(size.piece_rows // 2, 1)
    assert tried <= max(0.3 * rows, 5)


def test_a_sample_of_a_large_corpus_is_what_is_wanted_and_of_a_small_one_what_tells_something() -> None:
    assert sample_size(100_000, 24, 64, 3) == SampleSize(24, 64, is_small_job=False)
    assert sample_size(60, 24, 16, 3) == SampleSize(5, 4, is_small_job=True)
    assert sample_size(364, 24, 16, 3) == SampleSize(24, 5, is_small_job=True)
    assert sample_size(1000, 24, 16, 3) == SampleSize(24, 13, is_small_job=False)
    assert sample_size(0, 24, 16, 3) == SampleSize(3, 1, is_small_job=True)


def test_rows_are_counted_by_lines_from_all_over(tmp_path: Path) -> None:
    # The file's beginning, which a plan looks at, has longer lines than the rest.
    rows = qa_rows(6000)
    lines = [{**row, "context": row["context"] * (100 if number < 500 else 1)} for number, row in enumerate(rows)]
    (tmp_path / "a.jsonl").write_bytes(jsonl(lines))
    plan = plan_of(tmp_path)
    counted = counted_plan(plan, {})
    assert plan.row_estimate < 1000
    assert counted == replace(plan, row_estimate=counted.row_estimate)
    assert plan.row_estimate < counted.row_estimate <= 8000


def test_rows_that_are_known_are_not_counted(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(qa_rows(300)), tmp_path / "a.parquet")
    plan = plan_of(tmp_path)
    assert counted_plan(plan, {}) is plan
