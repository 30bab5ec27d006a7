"""Traces of the commands, from all processes of a cluster that they start: none is lost where Ray ends its workers."""

import json
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.otlp_receiver import Collector
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import write_jsonl
from tests.pipelines.processes import Command, deaf_address, free_port, is_gone
from tests.tracing import collector as collector

pytestmark = [pytest.mark.ray, pytest.mark.more]

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ROWS = qa_rows(24)


@contextmanager
def _running(*words: str, folder: Path, **variables: str) -> Iterator[Command]:
    command = Command(words, folder, variables)
    try:
        yield command
    finally:
        command.clean_up()


def _words(folder: Path, model: Path) -> tuple[str, ...]:
    corpus = write_jsonl(folder / "in.jsonl", ROWS)
    keys = ("corpus.shard_rows=4", "ray.object_store_mb=100", "model.threads=1")
    settings = [word for key in keys for word in ("--set", key)]
    return ("spanmill", "answer", str(corpus), str(folder / "out"), "--model", str(model), *settings)


def test_a_job_loses_no_span(collector: Collector, untrained_model: Path, tmp_path: Path) -> None:
    with _running(*_words(tmp_path, untrained_model), folder=tmp_path, TRACEPARENT=PARENT) as command:
        code, _, said = command.end()
    assert code == 0, said
    [root] = collector.spans("job")
    assert (root.trace, root.parent) == (PARENT[3:35], PARENT[36:52])
    shards = collector.spans("shard")
    assert sorted(span.attributes["spanmill.shard"] for span in shards) == [f"0-{number}" for number in range(6)]
    assert {span.parent for span in shards} == {root.id}
    for shard in shards:
        within = [span for span in collector.spans() if span.parent == shard.id]
        assert sorted(span.name for span in within) == ["model", "prepare", "read", "write"]
    # The model actor is none of the processes that read and write.
    pids = [{span.resource["process.pid"] for span in collector.spans(name)} for name in ("job", "model", "read")]
    assert [len(one) for one in pids[:2]] == [1, 1]
    assert not pids[0] & pids[1] | pids[1] & pids[2]


def test_a_job_that_is_stopped_exports_its_span(collector: Collector, untrained_model: Path, tmp_path: Path) -> None:
    with _running(*_words(tmp_path, untrained_model), folder=tmp_path) as command:
        command.wait_until(lambda: "starting Ray" in command.said()[1])
        command.signal(signal.SIGINT)
        code, _, said = command.end()
        assert code == 130, said
    [root] = collector.spans("job")
    assert (root.failed, root.attributes["spanmill.stopped"]) == (False, True)


def test_a_collector_that_is_gone_is_one_line_and_changes_nothing(untrained_model: Path, tmp_path: Path) -> None:
    with deaf_address() as deaf:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{deaf}", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        with _running(*_words(tmp_path, untrained_model), folder=tmp_path, **endpoint) as command:
            code, _, said = command.end()
    assert code == 0, said
    assert (tmp_path / "out" / "_SUCCESS").exists()
    assert "opentelemetry" not in said
    assert said.count("spans are lost") <= 1


def test_a_service_exports_all_spans_of_a_request(collector: Collector, untrained_model: Path, tmp_path: Path) -> None:
    port = free_port()
    words = ("spanmill", "serve", "--model", str(untrained_model), "--port", str(port))
    with _running(*words, "--set", "ray.object_store_mb=100", folder=tmp_path) as command:
        command.wait_until(lambda: "ready: http" in command.said()[1])
        body = {"inputs": [{"question": row["question"], "context": row["context"]} for row in ROWS[:2]]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/answer",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "traceparent": PARENT},
        )
        with urllib.request.urlopen(request, timeout=300) as reply:
            assert reply.status == 200
        # At once: what has just ended is not lost either.
        command.process.send_signal(signal.SIGTERM)
        code, _, said = command.end()
        assert code == 0, said
        assert is_gone(command)
    spans = collector.spans()
    assert {span.trace for span in spans} == {PARENT[3:35]}
    parents = {span.id: span.name for span in spans} | {PARENT[36:52]: ""}
    assert {(parents[span.parent], span.name) for span in spans} == {
        ("", "POST /answer"),
        ("POST /answer", "call replica"),
        ("call replica", "replica"),
        *(("replica", stage) for stage in ("tokenise", "queue", "pass", "decode")),
    }
