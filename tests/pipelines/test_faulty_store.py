"""Reading and writing through a store that throttles, stalls and hangs up."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tenacity.nap

from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.errors import StorageError
from pipelines.output.parts import ShardId
from pipelines.output.sinks.folder import PartsFolder
from pipelines.planning.plan import Plan
from pipelines.planning.planner import make_plan
from pipelines.rows.shard_reader import read_unit
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.storage import filesystem, retry
from pipelines.storage.filesystem import Store, create_exclusive, exists, read_bytes, resolve, write_atomic
from pipelines.storage.retry import count_errors
from tests.pipelines.fault_proxy import Fault, FaultProxy, proxy_to
from tests.pipelines.helpers import jsonl, qa_rows
from tests.pipelines.s3_server import S3Server

JOB = "0123abcd"
ROWS = qa_rows(300)
EMPTY = QUARANTINE_SCHEMA.empty_table()
# aiohttp itself repeats a request whose connection was closed on it, once.
PER_TRY = 2

READING = [Fault.SLOW_DOWN, Fault.SERVER_ERROR, Fault.DROPPED, Fault.HALF_SENT, Fault.SILENT, Fault.STALLED]
SILENCE = [Fault.SILENT, Fault.STALLED]
WRITING = [Fault.SLOW_DOWN, Fault.SERVER_ERROR, Fault.DROPPED, Fault.LOST_ANSWER, Fault.CUT_UPLOAD, Fault.SILENT]


@pytest.fixture(scope="module")
def running(s3: S3Server) -> Iterator[FaultProxy]:
    for name, data in _corpora().items():
        store = resolve("s3://bucket/in", s3.options)
        write_atomic(store.fs, store.path(name), data)
    with proxy_to(s3) as proxy:
        yield proxy


@pytest.fixture
def proxy(running: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> FaultProxy:
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(retry, "TRIES", 5)
    running.forget()
    return running


def _out(proxy: FaultProxy, folder: Path, fault: Fault | None = None) -> Store:
    """An output of a test, through the proxy."""
    return resolve(f"s3://bucket/out/{folder.name}", _options(proxy, fault))


def _corpora() -> dict[str, bytes]:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, row_group_size=100)
    text = jsonl(ROWS)
    return {"a.parquet": sink.getvalue().to_pybytes(), "a.jsonl": text, "a.jsonl.gz": gzip.compress(text)}


def _options(proxy: FaultProxy, fault: Fault | None) -> dict[str, Any]:
    """One try a request, so that tries can be counted, and no patience with silence where that is the fault."""
    quick = {"retries": {"total_max_attempts": 1}, "read_timeout": 0.25 if fault in SILENCE else 60}
    return {**proxy.proxied.options, "config_kwargs": quick}


@pytest.fixture
def _slow_is_silent(fault: Fault, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without patience a busy machine costs tries, too, which are no faults of the proxy."""
    if fault in SILENCE:
        monkeypatch.setattr(retry, "TRIES", 30)


def _rows(count: int) -> pa.Table:
    return pa.table({"id": [f"q{i}" for i in range(count)]}, schema=pa.schema([("id", pa.string())]))


def _plan(name: str, options: dict[str, Any]) -> Plan:
    parameters = CorpusParameters(storage=options, unit_bytes=4000, shard_rows=50)
    return make_plan(list_files([f"s3://bucket/in/{name}"], parameters), parameters, "answer")


def _read(plan: Plan, options: dict[str, Any]) -> list[str]:
    shards = [raw for unit in plan.units for raw in read_unit(plan.file_of(unit), unit, plan.layout, options)]
    column = "id" if plan.files[0].format == "parquet" else "_line"
    return [str(value) for raw in shards for value in raw.table.column(column).to_pylist()]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("fault", READING)
@pytest.mark.usefixtures("_slow_is_silent")
def test_reading_through_faults(proxy: FaultProxy, fault: Fault, name: str) -> None:
    plan = _plan(name, proxy.server.options)
    undisturbed = _read(plan, proxy.server.options)
    proxy.inject(fault, "HEAD", times=2)
    proxy.inject(fault, "GET", times=2)
    with count_errors() as errors:
        assert _read(plan, _options(proxy, fault)) == undisturbed
    assert len(undisturbed) == len(ROWS)
    assert proxy.faults == 4
    assert errors.total >= 4 // PER_TRY


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.HALF_SENT])
def test_planning_through_faults(proxy: FaultProxy, fault: Fault, name: str) -> None:
    undisturbed = _plan(name, proxy.server.options)
    proxy.inject(fault, times=4)
    assert _plan(name, _options(proxy, fault)).units == undisturbed.units
    assert proxy.faults == 4


def test_a_slow_answer_is_waited_for(proxy: FaultProxy) -> None:
    store = resolve("s3://bucket/in", proxy.proxied.options)
    proxy.inject(Fault.SLOW, "GET")
    with count_errors() as errors:
        assert read_bytes(store.fs, store.path("a.jsonl")) == jsonl(ROWS)
    assert proxy.faults == 1
    assert errors.total == 0


def test_what_asking_again_cannot_mend_is_asked_once(proxy: FaultProxy) -> None:
    store = resolve("s3://bucket/out", {**proxy.proxied.options, "secret": "wrong"})
    with pytest.raises(StorageError, match="credentials") as raised:
        write_atomic(store.fs, store.path("x"), b"x")
    assert raised.value.permanent
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz"])
def test_contents_that_never_come_whole_are_the_stores_fault(proxy: FaultProxy, name: str) -> None:
    plan = _plan(name, proxy.server.options)
    proxy.inject(Fault.HALF_SENT, "GET")
    with pytest.raises(StorageError, match=rf"{name}: reading failed: .*after several tries.*endpoint") as raised:
        _read(plan, _options(proxy, Fault.HALF_SENT))
    assert not raised.value.permanent


@pytest.mark.parametrize("fault", [*READING, Fault.LOST_ANSWER])
def test_a_store_that_is_gone_is_asked_for_a_bounded_number_of_times(
    proxy: FaultProxy, tmp_path: Path, fault: Fault
) -> None:
    out = _out(proxy, tmp_path, fault)
    proxy.inject(fault)
    with count_errors() as errors, pytest.raises(StorageError, match="after several tries") as raised:
        read_bytes(out.fs, out.path("some"))
    assert not raised.value.permanent
    assert errors.total == retry.TRIES
    assert retry.TRIES <= len(proxy.seen) <= retry.TRIES * PER_TRY


def test_the_layers_below_do_not_multiply_the_tries(proxy: FaultProxy) -> None:
    store = resolve("s3://bucket/in", proxy.proxied.options)
    proxy.inject(Fault.SLOW_DOWN)
    with pytest.raises(StorageError, match=r"SlowDown|reduce your request rate"):
        exists(store.fs, store.path("a.jsonl"))
    assert len(proxy.seen) == retry.TRIES * 2, "two tries a call are botocore's"


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize("fault", WRITING)
@pytest.mark.usefixtures("_slow_is_silent")
def test_writing_through_faults(proxy: FaultProxy, tmp_path: Path, fault: Fault, format: str) -> None:
    out = _out(proxy, tmp_path, fault)
    faulty = PartsFolder(out, JOB, format)
    calm = PartsFolder(resolve(f"{out.url}-calm", proxy.server.options), JOB, format)
    proxy.inject(fault, "PUT", times=4)
    for number in range(3):
        shard = ShardId(0, number, number == 2)
        for parts in (faulty, calm):
            parts.commit(shard, _rows(1000), EMPTY, {})
        assert read_bytes(calm.store.fs, faulty.path(shard)) == read_bytes(calm.store.fs, calm.path(shard))
    assert proxy.faults == 4
    proxy.inject(Fault.HALF_SENT, "GET", times=2)
    assert faulty.committed() == calm.committed()


@pytest.mark.parametrize("fault", [Fault.CUT_UPLOAD, Fault.SLOW_DOWN, Fault.DROPPED])
def test_a_failed_write_shows_nothing_and_spoils_nothing(proxy: FaultProxy, tmp_path: Path, fault: Fault) -> None:
    """rclone before 1.75.2 wrote in place and, when an upload was cut, removed what had been there (issue 9718)."""
    out = _out(proxy, tmp_path, fault)
    parts, old, new = PartsFolder(out, JOB, "parquet"), ShardId(0, 0, False), ShardId(0, 1, True)
    parts.commit(old, _rows(10), EMPTY, {})
    before = read_bytes(out.fs, parts.path(old))
    proxy.inject(fault, "PUT")
    for shard in (old, new):
        with pytest.raises(StorageError, match="writing failed"):
            parts.commit(shard, _rows(100_000), EMPTY, {})
    assert [parts.has(old), parts.has(new)] == [True, False]
    assert parts.committed().by_unit == {0: frozenset({0})}
    assert read_bytes(out.fs, parts.path(old)) == before
    proxy.forget()
    parts.commit(new, _rows(100_000), EMPTY, {})
    assert parts.committed().is_complete(0)


def test_a_server_that_takes_no_bytes_is_not_waited_for(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _out(proxy, tmp_path)

    def patience_comes(_: float) -> None:
        monkeypatch.setattr(filesystem, "_WRITE_SECONDS", 60.0)

    monkeypatch.setattr(filesystem, "_WRITE_SECONDS", 1.0)
    monkeypatch.setattr(filesystem, "_WRITE_BYTES_PER_SECOND", 1 << 30)
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=patience_comes))
    proxy.inject(Fault.DEAF, "PUT", times=1)
    data = bytes(16 << 20)  # more than the sockets' buffers hold
    with count_errors() as errors:
        write_atomic(out.fs, out.path("big"), data)
    assert errors.total >= 1
    assert proxy.faults == 1
    assert read_bytes(out.fs, out.path("big")) == data


@pytest.mark.parametrize("fault", WRITING)
@pytest.mark.usefixtures("_slow_is_silent")
def test_creating_through_faults(
    proxy: FaultProxy, tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _out(proxy, tmp_path, fault)
    monkeypatch.setattr(filesystem, "_SETTLE_SECONDS", 0.01)
    proxy.inject(fault, times=3)
    assert create_exclusive(out.fs, out.path("once"), b"one")
    proxy.inject(fault, times=3)
    assert not create_exclusive(out.fs, out.path("once"), b"two")
    assert read_bytes(out.fs, out.path("once")) == b"one"


def test_what_was_uploaded_was_checked_on_arrival(proxy: FaultProxy, tmp_path: Path) -> None:
    out = _out(proxy, tmp_path)
    proxy.inject(Fault.DAMAGED_UPLOAD, "PUT", times=2)
    with count_errors() as errors:
        write_atomic(out.fs, out.path("some"), b"exactly this")
    assert errors.total == 2
    assert read_bytes(out.fs, out.path("some")) == b"exactly this"
