"""Names and commits."""

import time
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.errors import StorageError
from pipelines.output.parts import PartName, ShardId, list_names, remove_success, split_part_name, write_success
from pipelines.output.sinks.folder import PartsFolder, is_part
from pipelines.rows.quarantine import Fault, Reason, quarantine_rows
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.storage.filesystem import Store, resolve, write_atomic
from tests.pipelines.helpers import jsonl, qa_rows
from tests.pipelines.s3_server import S3Server

JOB = "0123abcd"
EMPTY = QUARANTINE_SCHEMA.empty_table()


def _rows(count: int) -> pa.Table:
    return pa.table({"id": [f"q{i}" for i in range(count)]}, schema=pa.schema([("id", pa.string())]))


def _bad(count: int) -> pa.Table:
    column = pa.chunked_array([list(range(count))], pa.int64())
    faults = {row: Fault(Reason.NULL_TEXT, "") for row in range(count)}
    return quarantine_rows(pa.table({"n": column}), column.cast(pa.string()), column, "a", faults)


def test_names() -> None:
    assert ShardId(3, 14, False).part_name(JOB, "parquet") == "part-00003-00014-0123abcd.parquet"
    assert ShardId(123456, 7, True).part_name(JOB, "jsonl") == "part-123456-00007z-0123abcd.jsonl"
    assert is_part("part-123456-00007z-0123abcd.jsonl")
    assert not is_part(".spanmill-part-00003-00014-0123abcd.parquet")
    assert not is_part("part-00003-00014-0123abcd.csv")
    assert is_part("part-00003-00014-0123abcd.csv", "csv")
    assert split_part_name("part-123456-00007z-0123abcd.jsonl") == PartName(ShardId(123456, 7, True), JOB, "jsonl")
    assert split_part_name("_SUCCESS") is None


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_commit_and_list(store: Store, format: str) -> None:
    parts = PartsFolder(store, JOB, format)
    assert parts.committed().shards == 0
    parts.commit(ShardId(0, 0, False), _rows(3), EMPTY, {"model": "m"})
    parts.commit(ShardId(0, 2, True), _rows(1), _bad(2), {"model": "m"})
    parts.commit(ShardId(1, 0, True), _rows(0), _bad(1), {"model": "m"})
    size = parts.commit(ShardId(1, 0, True), _rows(0), _bad(1), {"model": "m"})
    assert size == store.fs.info(parts.path(ShardId(1, 0, True)))["size"]
    done = parts.committed()
    assert done.shards == 3
    assert done.numbers(0) == {0, 2}
    assert done.numbers(9) == frozenset()
    assert [done.is_complete(unit) for unit in (0, 1, 9)] == [False, True, False]
    assert done.complete_units == 1
    assert done.foreign == ()
    assert list(done.ids()) == [ShardId(0, 0, False), ShardId(0, 2, True), ShardId(1, 0, True)]
    names = [name for name in sorted(list_names(store)) if is_part(name)]
    assert names == [shard.part_name(JOB, format) for shard in done.ids()]
    assert [name.partition(".")[0] for name in sorted(list_names(store, "_quarantine"))] == [
        name.partition(".")[0] for name in names[1:]
    ]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_look_at_one_shard_sees_what_was_just_written(store: Store, format: str) -> None:
    parts, last = PartsFolder(store, JOB, format), ShardId(0, 1, True)
    assert not parts.has(last)
    # Parts without a row, too: a JSONL one has no byte.
    parts.commit(last, _rows(0), _bad(1), {})
    assert parts.has(last)
    assert not parts.has(ShardId(0, 1, False))
    assert not PartsFolder(store, "ffffffff", format).has(last)


def test_parts_of_other_jobs_and_formats_are_seen(store: Store) -> None:
    parts = PartsFolder(store, JOB, "parquet")
    for other in (parts, PartsFolder(store, JOB, "jsonl"), PartsFolder(store, "ffffffff", "parquet")):
        other.commit(ShardId(0, 0, True), _rows(1), EMPTY, {})
    done = parts.committed()
    assert done.shards == 1
    assert done.foreign == ("part-00000-00000z-0123abcd.jsonl", "part-00000-00000z-ffffffff.parquet")


def test_other_tools_read_the_parts(tmp_path: Path) -> None:
    store = resolve(str(tmp_path))
    parts = PartsFolder(store, JOB, "parquet")
    for number in range(3):
        parts.commit(ShardId(0, number, number == 2), _rows(number), _bad(1), {"config": "c0ffee"})
    write_success(store, {"rows": 3})
    assert len(pq.read_table(tmp_path)) == 3
    assert len(pq.read_table(tmp_path / "_quarantine")) == 3
    footer = pq.read_metadata(tmp_path / "part-00000-00001-0123abcd.parquet").metadata
    assert {key: footer[f"spanmill.{key}".encode()] for key in ("job", "config", "rows", "quarantined")} == {
        "job": b"0123abcd",
        "config": b"c0ffee",
        "rows": b"1",
        "quarantined": b"1",
    }
    assert orjson.loads((tmp_path / "_SUCCESS").read_bytes()) == {"rows": 3}


def test_the_mark_of_success_comes_and_goes(store: Store) -> None:
    remove_success(store)
    write_success(store, {})
    assert "_SUCCESS" in list_names(store)
    remove_success(store)
    assert "_SUCCESS" not in list_names(store)


def test_quarantine_is_written_before_the_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.output.sinks import base, folder

    order = []
    for module in (base, folder):
        monkeypatch.setattr(
            module, "write_atomic", lambda fs, path, data: order.append(path.removeprefix(str(tmp_path)))
        )
    PartsFolder(resolve(str(tmp_path)), JOB, "jsonl").commit(ShardId(0, 0, True), _rows(1), _bad(1), {})
    name = "part-00000-00000z-0123abcd"
    assert order == [f"/_quarantine/{name}.parquet", f"/{name}.jsonl"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    parts = PartsFolder(resolve(str(tmp_path / "out")), JOB, "parquet")
    with pytest.raises(StorageError, match="writing failed") as raised:
        parts.commit(ShardId(0, 0, True), _rows(1), EMPTY, {})
    assert raised.value.permanent


def test_a_hundred_thousand_parts_are_listed_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.output.sinks import folder as folder_module

    names = [ShardId(i // 10, i % 10, i % 10 == 9).part_name(JOB, "parquet") for i in range(100_000)]
    monkeypatch.setattr(folder_module, "list_names", lambda store: names)
    begun = time.process_time()
    done = PartsFolder(resolve(str(tmp_path)), JOB, "parquet").committed()
    assert (done.shards, done.complete_units) == (100_000, 10_000)
    assert time.process_time() - begun < 5.0


def test_the_input_lies_on_s3_too(s3: S3Server) -> None:
    from pipelines.planning.planner import make_plan
    from pipelines.rows.shard_reader import read_unit

    store = resolve("s3://bucket/in", s3.options)
    # Through the server: it does not see at once what is put in its folder behind its back.
    write_atomic(store.fs, store.path("a.jsonl"), jsonl(qa_rows(50)))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(qa_rows(50)), sink, row_group_size=20)
    write_atomic(store.fs, store.path("b.parquet"), sink.getvalue().to_pybytes())
    parameters = CorpusParameters(storage=s3.options, unit_bytes=1000, shard_rows=10)
    files = list_files(["s3://bucket/in/*.jsonl", "s3://bucket/in/b.parquet", "s3://bucket/in"], parameters)
    assert [file.name for file in files] == ["a.jsonl", "b.parquet"]
    assert all(len(file.version) == 32 for file in files), "the ETag"
    plan = make_plan(files, parameters, "answer")
    assert len(plan.units) > 4
    shards = [raw for unit in plan.units for raw in read_unit(plan.file_of(unit), unit, plan.layout, s3.options)]
    assert sum(len(raw.table) for raw in shards) == 100
