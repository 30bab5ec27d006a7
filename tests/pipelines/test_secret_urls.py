"""A corpus behind a signed URL with a password: it is read, and nothing that is said or kept tells the secrets."""

import base64
import gzip
import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tenacity.nap
from rich.console import Console

from pipelines.cli.commands.dry_run import show_plan
from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.errors import CorpusError, SpanmillError
from pipelines.evaluation.squad import read_examples
from pipelines.job.job import Job, bind
from pipelines.output.parts import Committed
from pipelines.output.row_counts import read_counts
from pipelines.planning.plan import Plan
from pipelines.planning.planner import make_plan
from pipelines.reporting.progress import Tally
from pipelines.reporting.report_builder import write_report
from pipelines.rows.shard_reader import read_unit
from pipelines.rows.validation import validate
from pipelines.stages.pending_units import PendingUnit
from tests.pipelines.helpers import jsonl, qa_rows, quarantine_of, read_all, rows_of, validate_all
from tests.pipelines.jobs import make_job

SECRETS = ("hushpw", "hushsig")
QUERY = "X-Amz-Signature=hushsig"
NAMES = ("a.parquet", "a.jsonl", "a.jsonl.gz")


def check_silent(*said: object) -> None:
    """Nobody tells a secret."""
    for text in map(str, said):
        assert not [secret for secret in SECRETS if secret in text], text


@dataclass
class WebServer:
    """Files for whoever knows user, password and signature."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    busy: int = 0
    """So many requests are answered with 503."""

    def url(self, name: str) -> str:
        """The signed URL of a file."""
        return f"http://me:hushpw@127.0.0.1:{self.port}/in/{name}?{QUERY}"


class _Handler(BaseHTTPRequestHandler):
    web: WebServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path, _, query = self.path.partition("?")
        granted = "Basic " + base64.b64encode(b"me:hushpw").decode()
        data = self.web.files.get(path.rpartition("/")[2])
        if self.web.busy and with_body:
            self.web.busy -= 1
            return self._send(503, b"")
        if query != QUERY or self.headers["Authorization"] != granted:
            return self._send(403, b"")
        if data is None:
            return self._send(404, b"")
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first:
            return self._send(200, data, with_body)
        return self._send(206, data[int(first) : int(last) + 1], with_body)

    def _send(self, status: int, data: bytes, with_body: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hash(data)}"')
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def _serving() -> Iterator[WebServer]:
    web = WebServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web})) as server:
        web.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield web
        server.shutdown()
        thread.join()


@pytest.fixture
def web() -> Iterator[WebServer]:
    """Serves the same good rows in every format."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(qa_rows(40)), sink, row_group_size=10)
    text = jsonl(qa_rows(40))
    with _serving() as web:
        web.files = {"a.parquet": sink.getvalue().to_pybytes(), "a.jsonl": text, "a.jsonl.gz": gzip.compress(text)}
        yield web


def _plan(web: WebServer, *names: str, **parameters: Any) -> Plan:
    chosen = CorpusParameters(**parameters)
    return make_plan(list_files([web.url(name) for name in names], chosen), chosen, "answer")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_of_a_plan(web: WebServer, name: str) -> None:
    plan = _plan(web, name)
    assert rows_of(validate_all(plan)) == qa_rows(40)
    assert plan.files[0].name == name
    assert plan.to_json()["files"][0][0] == f"http://127.0.0.1:{web.port}/in/{name}"
    check_silent(plan, orjson.dumps(plan.to_json()), plan.files[0])


def test_workers_get_the_whole_url(web: WebServer) -> None:
    plan = _plan(web, "a.jsonl")
    work = PendingUnit.from_table(PendingUnit.to_table(PendingUnit.left(plan, Committed({}, {}, ()))))[0]
    [raw] = read_unit(work.file, work.unit, plan.layout, {})
    assert len(raw.table) == 40
    check_silent(work)


def test_a_file_without_an_id_is_named_without_secrets(web: WebServer) -> None:
    web.files["a.jsonl"] = jsonl([{"question": "q", "context": "c"}])
    assert [row["id"] for row in rows_of(validate_all(_plan(web, "a.jsonl")))] == ["a.jsonl@0"]


def test_names_that_are_lengthened_by_their_urls(web: WebServer) -> None:
    inputs = [web.url("a.jsonl"), web.url("a.jsonl").replace("127.0.0.1", "localhost")]
    names = [file.name for file in list_files(inputs, CorpusParameters())]
    assert names == [f"127.0.0.1:{web.port}/in/a.jsonl", f"localhost:{web.port}/in/a.jsonl"]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file(web: WebServer, name: str) -> None:
    plan = _plan(web, name)
    del web.files[name]
    with pytest.raises(SpanmillError, match=rf"{name}: .*http://127\.0\.0\.1") as raised:
        read_all(plan)
    check_silent(raised.value)
    with pytest.raises(SpanmillError, match=r"http://127\.0\.0\.1") as raised:
        _plan(web, name)
    check_silent(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file(web: WebServer, name: str) -> None:
    plan = _plan(web, name)
    web.files[name] += b"\n"
    with pytest.raises(CorpusError, match=rf"{name}: the file changed .*http://127\.0\.0\.1") as raised:
        read_all(plan)
    check_silent(raised.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl.gz"])
def test_a_damaged_file_and_its_quarantine(web: WebServer, name: str) -> None:
    web.files[name] = web.files[name][:-30]
    with pytest.raises(CorpusError, match=rf"{name}: .*damaged.*http://127\.0\.0\.1") as raised:
        read_all(_plan(web, name))
    check_silent(raised.value)
    [lost] = quarantine_of(validate_all(_plan(web, name, "a.jsonl", damaged="quarantine")))
    assert f"http://127.0.0.1:{web.port}/in/{name}" in lost["detail"]
    check_silent(lost)


@pytest.mark.parametrize("content", [b"id,question,context\n" * 12, jsonl([{"q": "?"}] * 12)])
def test_a_file_that_does_not_fit(web: WebServer, content: bytes) -> None:
    web.files |= {"a.jsonl": content, "b.txt": b""}
    for names in (["a.jsonl"], ["b.txt"], ["a.jsonl", "b.txt"]):
        with pytest.raises(CorpusError) as raised:
            _plan(web, *names)
        check_silent(raised.value)
    with pytest.raises(CorpusError) as raised:
        read_examples([web.url("a.jsonl")], {})
    check_silent(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_store_that_fails(
    web: WebServer, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda seconds: None))
    plan = _plan(web, name)
    with caplog.at_level(logging.WARNING, "spanmill.store"):
        web.busy = 2
        read_all(plan)
        web.busy = 100
        with pytest.raises(SpanmillError, match="503") as raised:
            read_all(plan)
    assert len(caplog.records) >= 2
    check_silent(raised.value, caplog.text, *(vars(record) for record in caplog.records))


@pytest.fixture
def job(web: WebServer, tmp_path: Path, untrained_model: Path) -> Job:
    """A job over a good file and a damaged one."""
    web.files["b.jsonl.gz"] = web.files["a.jsonl.gz"][:-30]
    inputs = [web.url(name) for name in ("a.jsonl", "b.jsonl.gz")]
    words = ("corpus.damaged=quarantine", "output.storage={auto_mkdir: true}")
    return make_job(inputs, tmp_path / "out", untrained_model, *words)


def test_a_dry_run(job: Job) -> None:
    said = io.StringIO()
    show_plan(job, Console(file=said, width=1000))
    assert "a.jsonl  jsonl" in said.getvalue()
    check_silent(said.getvalue())


def test_manifest_and_report(job: Job, tmp_path: Path) -> None:
    job = bind(job, replace=False)
    assert "hushsig" in job.plan.files[0].url.with_secrets, "a resumed job reads what its listing names"
    tally = Tally()
    for unit in job.plan.units:
        for raw in read_unit(job.plan.file_of(unit), unit, job.plan.layout, {}):
            lost = validate(raw, job.plan.file_of(unit).name, job.plan.layout).quarantine
            tally.mishaps += [row["detail"] for row in lost.to_pylist()]
    tally.mishaps.append(f"of another package: {job.plan.files[0].url.with_secrets}: 403")
    assert len(tally.mishaps) == 2
    write_report(job, None, tally, read_counts(job.parts, job.committed()), complete=False)
    written = [path.read_text() for path in (tmp_path / "out").iterdir() if path.is_file()]
    assert len(written) == 3
    check_silent(*written)


def test_an_output_in_its_input(web: WebServer, untrained_model: Path) -> None:
    with pytest.raises(CorpusError, match="lies in the input") as raised:
        make_job([web.url("a.jsonl")], web.url("a.jsonl"), untrained_model)
    check_silent(raised.value)
