"""`spanmill serve` as a user starts it: HTTP clients, a job on its replicas, a replica that is killed, SIGTERM."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from actors.parameters import EmbeddingParameters, QAParameters
from pipelines.cli.commands.serve import _cause, _placement, _warn_of_lost_traces, _why
from pipelines.config.service import ServeConfig
from pipelines.job.nodes.check import Asked, Node, away_from
from pipelines.job.nodes.facts import Questions, look
from tests.pipelines.jobs import bare_engine, mixed_rows, same_answer, same_vector, write_jsonl
from tests.pipelines.processes import Command, free_port, is_gone

pytestmark = pytest.mark.ray

ROWS = mixed_rows(48)
_TIMES = 3


TRACEBACK = """The deployment failed to start 3 times in a row. Error:
ray::ServeReplica:spanmill:model.initialize_and_get_metadata()
  File "replica.py", line 1, in __init__
actors.errors.ModelError: /m: model.safetensors is damaged
The replica will be retried after a pause."""


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (["waiting", TRACEBACK], "actors.errors.ModelError: /m: model.safetensors is damaged"),
        (["waiting for replicas"], "it took too long"),
        ([], "it took too long"),
    ],
)
def test_the_cause_of_a_failed_start_is_the_error_of_the_replica(messages: list[str], said: str) -> None:
    assert _why(RuntimeError("The start failed:\nit took too long\n"), messages) == said


def test_of_several_models_the_one_that_failed_is_named() -> None:
    messages = {"gateway": "waiting", "model": "waiting", "model-mine": TRACEBACK}
    why = "actors.errors.ModelError: /m: model.safetensors is damaged"
    failed = RuntimeError("it took too long")
    assert _cause(failed, messages, {"model": "minilm-qa", "model-mine": "mine"}) == f"model mine: {why}"
    assert _cause(failed, {"model": TRACEBACK}, {"model": "minilm-qa"}) == why
    assert _cause(failed, {}, {"model": "minilm-qa", "model-mine": "mine"}) == "it took too long"


def test_a_failed_start_without_a_word_is_called_by_its_kind() -> None:
    assert _why(RuntimeError(), []) == "RuntimeError"


@pytest.mark.parametrize(("protocol", "lines"), [("grpc", 1), ("http/protobuf", 0)])
def test_traces_that_cannot_be_exported_are_said_where_the_command_runs(
    monkeypatch: pytest.MonkeyPatch, protocol: str, lines: int
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol)
    said = io.StringIO()
    _warn_of_lost_traces(Console(file=said, width=1000))
    assert len(said.getvalue().splitlines()) == lines
    assert ("'grpc'" in said.getvalue()) is (lines > 0)


def test_nodes_are_asked_once_for_all_models_and_one_that_lacks_one_gets_no_replicas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    nodes = [Node("1a", "10.0.0.7", {"CPU": 8.0}), Node("2b", "10.0.0.8", {"CPU": 8.0})]
    asked = []

    def ask(nodes: Sequence[Node], questions: Questions) -> list[Asked]:
        asked.append(questions)
        answers = [look(questions, ())]
        folders[1].rmdir()
        answers.append(look(questions, ()))
        return [Asked(node, one.clock, one.clock, one) for node, one in zip(nodes, answers, strict=True)]

    monkeypatch.setattr("pipelines.cli.commands.serve.living_nodes", lambda: nodes)
    monkeypatch.setattr("pipelines.cli.commands.serve.ask", ask)
    models = [{"model": {"name": str(folder)}} for folder in folders]
    config = ServeConfig.model_validate({"ray": {"address": "10.0.0.1:6379"}, "models": models})
    said = io.StringIO()
    assert _placement(config, Console(file=said, width=1000)) == away_from(frozenset({"2b"}))
    assert len(asked) == 1
    assert (
        f"(10.0.0.8) gets no work: it cannot read the model {folders[1]}: b is not there. Copy the" in said.getvalue()
    )
    assert "cannot read" not in said.getvalue().replace(f"cannot read the model {folders[1]}", "")


def test_ctrl_c_while_it_starts_is_heard_and_takes_all_of_it_down(untrained_model: Path, tmp_path: Path) -> None:
    words = ("--model", str(untrained_model), "--port", str(free_port()), "--set", "ray.object_store_mb=100")
    command = Command(("spanmill", "serve", *words), tmp_path)
    try:
        command.wait_until(lambda: "starting Ray Serve" in command.said()[1])
        command.signal(signal.SIGINT)
        code, _, errors = command.end()
        assert code == 130, errors
        assert "ready" not in errors.partition("stopped")[0]
        assert errors.endswith("stopped before the service was ready; nothing of it runs any more\n")
        assert is_gone(command)
    finally:
        command.clean_up()


class Service:
    """A running service."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.port = free_port()
        # A replica may take minutes to start on a busy machine.
        keys = ("ray.object_store_mb=200", "limits.timeout_ms=300_000")
        settings = [word for key in keys for word in ("--set", key)]
        # As in a container: told by variables. The service that is stopped while it starts is told by options.
        said = {"SPANMILL_MODEL_FOLDERS": f"{folder / 'none'}:{model}", "SPANMILL_HEALTH_ROUTE": "/ours/up"}
        said["SPANMILL_PORT"] = str(self.port)
        self.command = Command(("spanmill", "serve", *settings), folder, said)

    def ask(self, path: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
        """Status, body and headers of one request."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"} | (headers or {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=400) as reply:
                return reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def replica(self) -> int | None:
        """Process of the model's replica; None while there is none."""
        for pid in self.command.left_behind():
            try:
                if b"ServeReplica:spanmill:model" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
            except OSError:
                continue
        return None


@pytest.fixture(scope="module")
def service(untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(untrained_model, tmp_path_factory.mktemp("service"))
    try:
        service.command.wait_until(lambda: "ready: http" in service.command.said()[1])
        yield service
    finally:
        service.command.clean_up()


def _pair(row: dict[str, Any]) -> dict[str, str]:
    return {"question": row["question"], "context": row["context"]}


def test_it_answers_what_the_engine_answers(service: Service, untrained_model: Path) -> None:
    rows = ROWS[:5]
    status, body, headers = service.ask("/answer", {"inputs": [_pair(row) for row in rows]}, {"X-Request-Id": "mine"})
    assert status == 200, body
    expected = bare_engine(untrained_model, rows, QAParameters())
    for (found,), wanted in zip(json.loads(body)["answers"], expected, strict=True):
        assert same_answer(found, wanted["answers"][0])
    assert headers.get_all("X-Request-Id") == ["mine"]
    assert float(headers["X-Inference-Ms"]) > 0


def test_columns_of_the_encoder_travel_from_a_replica(service: Service) -> None:
    asked = {"inputs": _pair(ROWS[0])["context"], "columns": ["tokens", "attention", "embedding"]}
    status, body, _ = service.ask("/encode", asked | {"parameters": {"attention": {"top": "all", "layers": [1]}}})
    assert status == 200, body
    [row] = json.loads(body)["rows"]
    [vector] = json.loads(service.ask("/embed", {"inputs": asked["inputs"]})[1])
    assert row["embedding"] == pytest.approx(vector, abs=1e-5)
    assert [asked["inputs"][token["start"] : token["end"]] for token in row["tokens"]] == [
        token["text"] for token in row["tokens"]
    ]
    # What a token attends to adds up to 1, in every head.
    window = row["attention"][0]
    assert sum(window["weights"]) == pytest.approx(window["heads"] * len(window["tokens"]), rel=1e-4)


def test_bad_requests_are_refused_and_the_deadline_counts(service: Service) -> None:
    assert service.ask("/answer", {"context": "x", "questions": [""]})[0] == 422
    status, body, _ = service.ask("/answer", {"inputs": [_pair(ROWS[0])]}, {"X-Request-Timeout-Ms": "0"})
    assert (status, json.loads(body)["reason"]) == (422, "invalid")
    assert service.ask("/nowhere")[0] == 404


def test_hosts_of_containers_find_what_they_ask_for(service: Service) -> None:
    assert service.ask("/ping")[:2] == (200, b"")
    status, body, _ = service.ask("/ours/up")
    assert (status, json.loads(body)) == (200, {"status": "ready", "model": "untrained"})
    asked = {"inputs": _pair(ROWS[0])}
    status, body, _ = service.ask("/invocations", asked)
    assert status == 200, body
    found = json.loads(body)
    assert found["answer"] == ROWS[0]["context"][found["start"] : found["end"]]
    assert found == pytest.approx(json.loads(service.ask("/", asked)[1]), abs=1e-4)
    assert service.ask("/invocations", {"inputs": []})[0] == 422


def test_only_the_replica_holds_torch(service: Service) -> None:
    """It is 120 MB of each process that loads it, and the command and gateways live as long as the service does."""
    assert service.ask("/tokenize", {"inputs": "Ada"})[0] == 200
    processes = service.command.left_behind()
    assert service.command.process.pid in processes
    assert [pid for pid in processes if _has_mapped(pid, "libtorch")] == [service.replica()]


def _has_mapped(pid: int, library: str) -> bool:
    try:
        return library in Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # it has ended meanwhile
        return False


def test_one_page_tells_of_gateway_and_model(service: Service) -> None:
    names = ("in_hand", "queue_ms_count", "served_rows_total", "pass_windows_sum", "pass_tokens_sum", "pass_ms_sum")
    _wait_for_metrics(service, {f"ray_spanmill_{name}" for name in names}, 'class="online"')
    _wait_for_metrics(service, {"ray_spanmill_requests_total"}, 'route="/answer"')


def _wait_for_metrics(service: Service, names: set[str], label: str) -> None:
    """Waits until the page of metrics has these with a label; Ray collects those of each process every few seconds."""
    deadline = time.monotonic() + 180
    while True:
        page = str(service.ask("/metrics")[1].decode())
        if names <= set(re.findall(rf"^(\w+)\{{.*{label}", page, re.MULTILINE)):
            return
        assert time.monotonic() < deadline, page
        time.sleep(1)


@pytest.mark.more
def test_a_job_on_its_replicas_survives_the_death_of_one(
    service: Service, untrained_model: Path, tmp_path: Path
) -> None:
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{**row, "id": str(n)} for n, row in enumerate(ROWS * _TIMES)])
    words = ("--pool", "serve", "--model", str(untrained_model), "--set", "corpus.shard_rows=48")
    job = Command(("spanmill", "answer", str(corpus), str(tmp_path / "out"), *words), tmp_path)
    statuses: list[int] = []
    done = threading.Event()

    def ask_on() -> None:
        while not done.is_set():
            statuses.append(service.ask("/answer", {"inputs": [_pair(ROWS[0])]})[0])

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        job.wait_until(lambda: any((tmp_path / "out").glob("part-*")))
        first = service.replica()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        code, _, errors = job.end()
        assert code == 0, errors
    finally:
        done.set()
        asking.join()
        job.clean_up()
    rows = pq.read_table(tmp_path / "out").sort_by("id").to_pylist()
    assert sorted(int(row["id"]) for row in rows) == list(range(len(ROWS) * _TIMES))
    expected = bare_engine(untrained_model, ROWS, QAParameters())
    assert all(same_answer(row, expected[int(row["id"]) % len(ROWS)]["answers"][0]) for row in rows)
    assert set(statuses) == {200}, "the gateway asks once more where a replica dies"
    assert service.replica() != first


@pytest.mark.more
def test_an_embedding_job_on_its_replicas(service: Service, untrained_model: Path, tmp_path: Path) -> None:
    # Texts that come again, out of order: their rows share what a piece gives to the text.
    texts = [{"id": str(n), "text": ROWS[n * 7 % 20]["context"]} for n in range(60)]
    corpus = write_jsonl(tmp_path / "corpus.jsonl", texts)
    words = ("--pool", "serve", "--model", str(untrained_model))
    code, _, errors = Command(("spanmill", "embed", str(corpus), str(tmp_path / "out"), *words), tmp_path).end()
    assert code == 0, errors
    assert not re.search(r"WARNING|INFO|core_worker", errors), "lines of Ray's"
    rows = {row["id"]: row["embedding"] for row in pq.read_table(tmp_path / "out").to_pylist()}
    expected = bare_engine(untrained_model, texts, embedding=EmbeddingParameters())
    for text, wanted in zip(texts, expected, strict=True):
        assert same_vector(rows[text["id"]], wanted["embedding"])
    names = ("in_hand", "queue_ms_count", "served_rows_total", "pass_ms_sum")
    _wait_for_metrics(service, {f"ray_spanmill_{name}" for name in names}, 'class="offline"')


@pytest.fixture
def other_cluster() -> Iterator[None]:
    """A local cluster of somebody else's on this machine, younger than the service's."""
    program = "import ray; ray.init('local', num_cpus=0, object_store_memory=80 << 20); print('up'); input()"
    process = subprocess.Popen((sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield
        process.communicate(b"\n", timeout=180)
    finally:
        process.kill()


@pytest.mark.usefixtures("other_cluster")
def test_a_job_finds_the_service_and_is_refused_with_another_model(service: Service, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "corpus.jsonl", ROWS[:4])
    words = ("--pool", "serve", "--model", str(Path(__file__).parents[4] / "models" / "minilm-qa"))
    job = Command(("spanmill", "answer", str(corpus), str(tmp_path / "out"), *words), tmp_path)
    code, _, errors = job.end()
    assert code == 2, errors
    assert "set model.name to what the service runs" in errors


def test_a_job_without_its_service_is_refused(service: Service, untrained_model: Path, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "corpus.jsonl", ROWS[:4])
    words = ("--pool", "serve", "--model", str(untrained_model), "--set", "pool.application=other")
    code, _, errors = Command(("spanmill", "answer", str(corpus), str(tmp_path / "out"), *words), tmp_path).end()
    assert code == 1
    assert "the application other is not there; start it with `spanmill serve`" in errors


def test_sigterm_stops_it_cleanly(service: Service) -> None:
    # Ray has a handler of its own for it, which aborts; Ctrl-C and SIGTERM share the rest.
    service.command.process.terminate()
    code, _, errors = service.command.end()
    assert code == 0, errors
    assert errors.rstrip().endswith("stopped")
    assert is_gone(service.command)
