"""Jobs on a cluster of several nodes, some of which do not fit, or go."""

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any, Self

import httpx2
import pytest

from actors.version import versions_of
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import read_ledger
from tests.actors.counting_runtime import passes_in
from tests.chaos.clusters import SETTINGS
from tests.pipelines.jobs import make_job, mixed_rows, part_rows, same_answer, write_jsonl
from tests.pipelines.processes import Command, free_port
from tests.pipelines.ray_nodes import Nodes, nodes, settings, with_other_version

pytestmark = [pytest.mark.ray, pytest.mark.more]

COUNTING = "tests.actors.counting_runtime:RUNTIME"
_JOB = (f"model.backend={COUNTING}", "model.device=cpu", "corpus.shard_rows=12", "pool.size=2", "pool.cpus=1.4")
"""Two actors, for each of which a node of two CPUs has room."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head of two CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (SETTINGS | settings()).items():
            patch.setenv(name, value)
        with nodes(tmp_path_factory.getbasetemp() / "n", cpus=2) as made:
            yield made


@pytest.fixture(autouse=True)
def _only_the_head_is_left(running: Nodes) -> Iterator[None]:
    """Room on a node of the test before would make another test of the next one."""
    yield
    running.leave()


@pytest.fixture
def counting(untrained_model: Path, tmp_path: Path) -> Path:
    """A model in a folder of its own, which the runtime tells of its passes."""
    copytree(untrained_model, tmp_path / "model")
    return tmp_path / "model"


def _start(running: Nodes, corpus: Path, output: Path, model: Path, *more: str) -> Command:
    sets = [word for setting in (*_JOB, *more) for word in ("--set", setting)]
    return running.job("answer", str(corpus), str(output), "--model", str(model), *sets)


def _corpus(path: Path, times: int) -> Path:
    rows = [row | {"id": f"{row['id']}-{turn}"} for turn in range(times) for row in mixed_rows(60)]
    return write_jsonl(path, rows)


def _computed_by(model: Path) -> Callable[[], set[str]]:
    return lambda: {node for node, _, _ in passes_in(model)}


def _receipts(corpus: Path, output: Path, model: Path) -> list[Receipt]:
    """Of the shards that are committed."""
    job = make_job([corpus], output, model, *_JOB)
    parts = job.parts
    [manifest] = output.glob("_manifest.json")
    assert manifest.exists()
    ledger = read_ledger(parts)
    return [one for one in Receipt.from_table(ledger.drop_columns(["run"])) if not one.failed_in]


def test_a_node_that_goes_hands_back_what_it_has_not_begun_and_nothing_is_computed_twice(
    running: Nodes, tmp_path: Path, counting: Path
) -> None:
    corpus = _corpus(tmp_path / "in.jsonl", 12)
    node = running.join(seconds=120)
    job = _start(running, corpus, tmp_path / "out", counting)
    job.wait_until(lambda: len(_computed_by(counting)()) == 2)
    node.process.send_signal(signal.SIGTERM)
    code, _, said = node.end()
    assert code == 0, said
    assert re.search(r"drained: node \S+ has left the cluster after \d+ s", said), said
    code, _, said = job.end(600)
    assert code == 0, said
    assert "came back uncomputed from nodes that go" in said
    told = sum(receipt.stats.total.windows for receipt in _receipts(corpus, tmp_path / "out", counting))
    assert sum(windows for _, _, windows in passes_in(counting)) == told
    copytree(counting, tmp_path / "again", ignore=lambda *_: ["passes"])
    undisturbed = _start(running, corpus, tmp_path / "undisturbed", tmp_path / "again", "pool.size=1")
    assert undisturbed.end(600)[0] == 0, undisturbed.said()
    found, expected = part_rows(tmp_path / "out"), part_rows(tmp_path / "undisturbed")
    assert [row["id"] for row in found] == [row["id"] for row in expected] == [row["id"] for row in read_jsonl(corpus)]
    # What shares a pass with a row may change the last digit of its score.
    assert all(same_answer(row, other) for row, other in zip(found, expected, strict=True))


def test_a_node_with_another_version_gets_no_work_and_is_named(running: Nodes, tmp_path: Path, counting: Path) -> None:
    before = running.ids()
    path = with_other_version(tmp_path / "other", "transformers", "4.0.0")
    node = running.join(env={"PYTHONPATH": path})
    corpus = _corpus(tmp_path / "in.jsonl", 2)
    code, _, said = _start(running, corpus, tmp_path / "out", counting, "pool.size=1").end()
    assert code == 0, said
    mine = versions_of(["transformers"])["transformers"]
    assert f"gets no work: it has transformers 4.0.0 in place of {mine}" in " ".join(said.split()), said
    assert _computed_by(counting)() <= before
    node.process.send_signal(signal.SIGTERM)
    assert node.end()[0] == 0


def test_pools_that_no_node_has_room_for_and_the_doctor(running: Nodes, tmp_path: Path, counting: Path) -> None:
    corpus = _corpus(tmp_path / "in.jsonl", 1)
    node = running.join()
    code, _, said = _start(running, corpus, tmp_path / "out", counting, "pool.size=1", "pool.cpus=3").end()
    assert (code, "an actor lies on one node" in said) == (2, True), said
    code, _, said = _start(running, corpus, tmp_path / "out", counting, "pool.gpus=1").end()
    assert (code, "the cluster has 0" in said) == (2, True), said
    code, out, said = running.job("doctor", "--address", running.address, "--store", str(tmp_path / "none")).end()
    assert code == 1, said
    assert " ".join(out.split()).count("cannot read store") == 2, out
    code, out, said = running.job("doctor", "--address", running.address, "--store", str(tmp_path)).end()
    assert len(re.findall(r"ok +node \S+ \(127", out)) + len(re.findall(r"ok +node \S+", out)) >= 2, out
    # Two nodes lie on this machine, and which of them goes has to be said.
    code, _, said = running.job("drain", "--address", running.address, "--seconds", "5").end()
    assert (code, "name one with --node ID" in " ".join(said.split())) == (2, True), said
    node.process.send_signal(signal.SIGTERM)
    code, _, said = node.end()
    assert code == 0, said
    code, _, said = running.job("drain", "--address", running.address, "--seconds", "5").end()
    assert (code, "is the head" in " ".join(said.split())) == (2, True), said


def test_replicas_of_a_service_leave_a_node_that_goes_and_no_request_and_no_row_is_lost(
    running: Nodes, tmp_path: Path, untrained_model: Path
) -> None:
    """Two replicas, on the head and on a node; another node takes the one over while requests and a job go on.

    It is the one that joins later, and not the one with other versions, which would have room as well.
    """
    running.join(env={"PYTHONPATH": with_other_version(tmp_path / "other", "transformers", "4.0.0")})
    going, port = running.join(), free_port()
    settings = ("keys={none: true}", "replicas={min: 2, max: 2, cpus: 1.4}", "model.threads=1")
    sets = [word for setting in settings for word in ("--set", setting)]
    service = running.job("serve", "--model", str(untrained_model), "--port", str(port), *sets)
    try:
        service.wait_until(lambda: "ready: " in service.said()[1], 400)
        assert "gets no work: it has transformers 4.0.0 in place of" in " ".join(service.said()[1].split())
        running.join()
        with Asking(f"http://127.0.0.1:{port}/answer") as asking:
            corpus = _corpus(tmp_path / "in.jsonl", 5)
            words = ("--pool", "serve", "--set", f"model.name={untrained_model}", "--set", "corpus.shard_rows=12")
            job = running.job("answer", str(corpus), str(tmp_path / "out"), *words)
            job.wait_until(lambda: any((tmp_path / "out").glob("part-*")))
            asked = asking.answered
            going.process.send_signal(signal.SIGTERM)
            code, _, said = going.end()
            assert code == 0, said
            assert "has left the cluster" in said
            code, _, said = job.end(600)
            assert code == 0, said
        assert asking.failures == []
        assert asking.answered > asked
        rows = part_rows(tmp_path / "out")
        assert [row["id"] for row in rows] == [row["id"] for row in read_jsonl(corpus)]
    finally:
        # Replicas take the room that other tests need.
        service.process.send_signal(signal.SIGTERM)
        service.end()
        service.clean_up()


class Asking:
    """Somebody who asks a service one question after the other, for as long as the block runs."""

    def __init__(self, url: str) -> None:
        self.answered, self.failures = 0, list[str]()
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        body = {"inputs": [{"question": "Who asks?", "context": "A test asks, again and again."}]}
        while not self._stop.is_set():
            try:
                reply = self._post(body)
            except httpx2.HTTPError as error:
                self.failures.append(repr(error))
                continue
            if reply.status_code == 200:
                self.answered += 1
            else:
                self.failures.append(f"{reply.status_code} {reply.text}")

    def _post(self, body: object) -> httpx2.Response:
        try:
            return httpx2.post(self._url, json=body, timeout=60)
        except (httpx2.ReadError, httpx2.RemoteProtocolError):
            # All nodes of this machine listen at one address: a connection put in line at the proxy of the node
            # that goes ends with it. Where each node has an address, a load balancer has left that one out by then.
            return httpx2.post(self._url, json=body, timeout=60)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON Lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_node_that_dies_and_is_not_replaced_does_not_hold_the_job_up(
    running: Nodes, tmp_path: Path, counting: Path
) -> None:
    """What the actor of the dead node had in hand is bound to it, and there is no room for it elsewhere."""
    corpus = _corpus(tmp_path / "in.jsonl", 6)
    node = running.join()
    job = _start(running, corpus, tmp_path / "out", counting)
    job.wait_until(lambda: len(_computed_by(counting)()) == 2)
    node.clean_up()
    code, _, said = job.end(900)
    assert code == 0, said
    assert "is gone, and nothing has been computed for" in said
    assert [row["id"] for row in part_rows(tmp_path / "out")] == [row["id"] for row in read_jsonl(corpus)]
