"""Units become shards of equal size, the last one marked."""

import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.formats import jsonl_stream
from pipelines.corpus.gaps import gaps_of
from pipelines.errors import CorpusError, DamagedError
from pipelines.rows.shard_reader import RawShard, read_unit
from tests.pipelines.helpers import (
    SUFFIXES,
    compressed,
    jsonl,
    plan_of,
    qa_rows,
    quarantine_of,
    read_all,
    rows_of,
    spoil,
    spoil_group,
    validate_all,
)


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
    spoil(path, bytes(data))
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


def _cut_of(shards: list[RawShard]) -> list[object]:
    return [(raw.unit, raw.number, raw.last, raw.table.to_pylist(), gaps_of(raw.table)) for raw in shards]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 60),
    group_rows=st.integers(1, 20),
    unit_bytes=st.sampled_from([1, 400, 1 << 20]),
    shard_rows=st.integers(1, 25),
    damaged=st.frozensets(st.integers(0, 8), min_size=1),
    skip=st.frozensets(st.integers(0, 8)),
)
def test_rows_of_sound_groups_stay_in_their_shards(
    rows: int, group_rows: int, unit_bytes: int, shard_rows: int, damaged: frozenset[int], skip: frozenset[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        pq.write_table(pa.Table.from_pylist(qa_rows(rows)), path, row_group_size=group_rows)
        plan = plan_of(path, unit_bytes=unit_bytes, shard_rows=shard_rows, damaged="quarantine")
        whole = read_all(plan)
        for group in damaged & frozenset(range(-(-rows // group_rows))):
            spoil_group(path, group)
        shards = read_all(plan)
        rest = read_all(plan, committed=skip)
    assert [(raw.unit, raw.number, raw.last) for raw in shards] == [(raw.unit, raw.number, raw.last) for raw in whole]
    for raw, before in zip(shards, whole, strict=True):
        gaps = [row for gap in gaps_of(raw.table) for row in range(gap.place, gap.place + gap.rows)]
        assert sorted(raw.table["_row"].to_pylist() + gaps) == before.table["_row"].to_pylist()
        assert all(row // group_rows in damaged for row in gaps)
        assert all(row // group_rows not in damaged for row in raw.table["_row"].to_pylist())
    assert _cut_of(rest) == _cut_of([raw for raw in shards if raw.number not in skip])


def test_rows_before_a_damaged_page_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = qa_rows(5000)
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, path, row_group_size=4000, data_page_size=1000, use_dictionary=False)
    plan = plan_of(path, shard_rows=300, damaged="quarantine")
    spoil_group(path, 0, slice(-500, None))
    shards = validate_all(plan)
    lost = quarantine_of(shards)
    first = lost[0]["place"]
    assert 2000 < first < 4000
    assert rows_of(shards) == rows[:first] + rows[4000:]
    assert sum(int(row["detail"].split()[0]) for row in lost) == 4000 - first
    assert [row["place"] for row in lost] == [first, *range(first - first % 300 + 300, 4000, 300)]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("shard_rows", [10, 1_000_000])
def test_lines_before_a_stream_is_cut_short_are_kept(tmp_path: Path, compression: str, shard_rows: int) -> None:
    path = tmp_path / f"a.jsonl{SUFFIXES[compression]}"
    rows = qa_rows(300)
    path.write_bytes(compressed(jsonl(rows), compression)[:-30])
    plan = plan_of(path, shard_rows=shard_rows, damaged="quarantine")
    shards = validate_all(plan)
    kept = rows_of(shards)
    # One of two members is whole.
    assert len(kept) >= 149
    assert kept == rows[: len(kept)]
    (lost,) = quarantine_of(shards)
    assert (lost["id"], lost["file"], lost["reason"], lost["row"]) == (None, path.name, "unreadable", "")
    assert lost["detail"].startswith(f"what follows is lost. {path.name}: the {compression} stream is damaged")
    assert len(jsonl(kept)) <= lost["place"] < len(jsonl(rows))
    read = read_all(plan)
    assert [raw.last for raw in read] == [False] * (len(read) - 1) + [True]
    assert _cut_of(read_all(plan, frozenset([0, 2]))) == _cut_of([raw for raw in read if raw.number not in (0, 2)])


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_nothing_is_taken_from_near_a_damage(tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"a.jsonl{SUFFIXES[compression]}"
    rows = qa_rows(30_000)
    data = compressed(jsonl(rows), compression)
    path.write_bytes(data)
    plan = plan_of(path, damaged="quarantine")
    spoil(path, data[:-5000] + b"\xff" * 5000)
    with patch.object(jsonl_stream, "READ_BYTES", 64 << 10):
        shards = validate_all(plan)
    kept = rows_of(shards)
    assert len(kept) > 10_000
    assert kept == rows[: len(kept)]
    assert [row["reason"] for row in quarantine_of(shards)] == ["unreadable"]


def test_without_quarantine_the_shards_before_the_damage_come_and_then_the_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(compressed(jsonl(qa_rows(1000)), "gzip")[:-30])
    plan = plan_of(path, shard_rows=100, damaged="quarantine")
    shards = read_unit(plan.files[0], plan.units[0], replace(plan.layout, damaged="fail"), {})
    with patch.object(jsonl_stream, "READ_BYTES", 1000):
        assert [next(shards).number for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(DamagedError, match=r"a\.jsonl\.gz: the gzip stream is damaged"):
            list(shards)


@pytest.mark.parametrize("known", [0, 25])
def test_a_footer_that_cannot_be_read(tmp_path: Path, known: int) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(qa_rows(25)), path)
    pq.write_table(pa.Table.from_pylist(qa_rows(5)), tmp_path / "b.parquet")
    whole = path.read_bytes()
    if known:
        plan = plan_of(tmp_path, shard_rows=10, damaged="quarantine")
    spoil(path, whole[:-40] + bytes(40))
    if not known:
        plan = plan_of(tmp_path, shard_rows=10, damaged="quarantine")
    shards = validate_all(plan)
    assert rows_of(shards) == qa_rows(5)
    assert [(row["file"], row["place"]) for row in quarantine_of(shards)] == [
        ("a.parquet", place) for place in range(0, max(known, 1), 10)
    ]


def test_a_file_that_changed_is_not_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(qa_rows(25)), path)
    plan = plan_of(path, damaged="quarantine")
    path.write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match="the file changed"):
        read_all(plan)
