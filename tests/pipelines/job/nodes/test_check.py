"""What is made of the answers of nodes; test_nodes asks real ones."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from ray.exceptions import (
    GetTimeoutError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
    WorkerCrashedError,
)

from actors.version import versions_of
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.errors import JobError
from pipelines.job.nodes import check
from pipelines.job.nodes.check import (
    Asked,
    Node,
    away_from,
    check_some_left,
    findings,
    questions_of,
    refused_ids,
)
from pipelines.job.nodes.facts import Disk, NodeFacts, Questions

NODE = Node("a1", "10.0.0.7", {"CPU": 8.0})
QUESTIONS = Questions(("torch", "transformers", "pyarrow"))
VERSIONS = versions_of(QUESTIONS.packages)
FACTS = NodeFacts("worker-7", 1_000.0, VERSIONS, (Disk("/tmp", 50 << 30, 100 << 30),))
MIB = 1 << 20


def _said(facts: NodeFacts | None, sent: float = 999.0, received: float = 1_001.0, error: str = "") -> list[str]:
    return [str(finding) for finding in findings([Asked(NODE, sent, received, facts, error)], QUESTIONS)]


def test_a_node_that_fits_is_not_mentioned() -> None:
    assert _said(FACTS) == []


def test_other_versions_are_refused_with_both_and_the_mend() -> None:
    [said] = _said(replace(FACTS, versions=dict(VERSIONS) | {"transformers": "4.0.0"}))
    mine = VERSIONS["transformers"]
    assert said.startswith("node worker-7 (10.0.0.7) gets no work: it has transformers 4.0.0 in place of " + mine)
    assert f"pip install 'transformers=={mine}'" in said


@pytest.mark.parametrize(
    ("what", "mend"),
    [
        ("the model /models/mine", "Copy the folder there"),
        ("the model s3://bucket/models/mine", "the route, the firewall and the credentials"),
        ("OUTPUT /data/out", "must be shared by all nodes"),
        ("INPUT s3://bucket/in.jsonl", "the route, the firewall and the credentials"),
    ],
)
def test_what_it_cannot_read_is_named_with_the_mend(what: str, mend: str) -> None:
    [said] = _said(replace(FACTS, unreachable={what: "no route to host"}))
    assert said.startswith(f"node worker-7 (10.0.0.7) gets no work: it cannot read {what}: no route to host. ")
    assert mend in said


def test_a_node_without_room_for_the_code_is_named_with_the_mend() -> None:
    error = "RuntimeEnvSetupError: [Errno 28] No space left on device: '/tmp/ray/code.zip'"
    [said] = _said(None, error=error)
    assert said.startswith(f"node 10.0.0.7 gets no work: its disk is full: {error}. Make room there")


def test_one_mend_is_said_once() -> None:
    unreachable = {"OUTPUT s3://b/out": "timeout", "INPUT s3://b/in": "no route", "the model /mine": "no such folder"}
    stores, model = _said(replace(FACTS, unreachable=unreachable))
    assert "it cannot read OUTPUT s3://b/out: timeout; INPUT s3://b/in: no route. Check the route" in stores
    assert "it cannot read the model /mine: no such folder. Copy the folder" in model


@pytest.mark.parametrize(("clock", "words"), [(1_001.0 + 130, "130 s ahead of"), (999.0 - 200, "200 s behind")])
def test_a_clock_that_differs_by_minutes_is_warned_of(clock: float, words: str) -> None:
    [said] = _said(replace(FACTS, clock=clock))
    assert said.startswith(f"node worker-7 (10.0.0.7): its clock is {words} the driver's")
    assert "timedatectl" in said


def test_an_answer_that_took_long_says_little_of_the_clock() -> None:
    assert _said(FACTS, sent=900.0, received=1_100.0) == []


@pytest.mark.parametrize("disk", [Disk("/tmp", 900 * MIB, 8_000 * MIB), Disk("/tmp", 40_000 * MIB, 1_000_000 * MIB)])
def test_a_disk_that_is_nearly_full_is_warned_of(disk: Disk) -> None:
    """Few bytes, or few of many: Ray does not spill onto a disk that is 95 % full."""
    [said] = _said(replace(FACTS, disks=(disk,)))
    assert f"its disk is nearly full: {disk.free / MIB:,.0f} of {disk.total / MIB:,.0f} MiB left in /tmp" in said


def test_a_node_that_cannot_run_the_code_is_refused_and_a_slow_one_is_not() -> None:
    [broken] = _said(None, error="ModuleNotFoundError: No module named 'fsspec'")
    assert "gets no work: it cannot run this code: ModuleNotFoundError" in broken
    [slow] = _said(None)
    assert "gets no work" not in slow


def test_a_worker_that_died_says_nothing_of_its_node() -> None:
    asked = Asked(NODE, 0.0, 1.0, mishap="OutOfMemoryError: the node ran low on memory")
    [warned] = findings([asked], QUESTIONS)
    assert not warned.refused
    assert str(warned).startswith("node 10.0.0.7: its worker died before it answered: OutOfMemoryError: ")
    assert asked.is_open
    assert not Asked(NODE, 0.0, 1.0, error="ImportError: no fsspec").is_open
    assert not Asked(NODE, 0.0, 1.0, FACTS).is_open


@pytest.mark.parametrize(
    ("error", "is_mishap"),
    [
        (WorkerCrashedError(), True),
        (OutOfMemoryError("the node ran low on memory"), True),  # type: ignore[no-untyped-call]
        (RuntimeEnvSetupError("no space"), False),
        (RayTaskError("look", "", ImportError("no fsspec")), False),  # type: ignore[no-untyped-call]
    ],
)
def test_only_what_concerns_the_node_refuses_it(
    monkeypatch: pytest.MonkeyPatch, error: RayError, is_mishap: bool
) -> None:
    def get(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("pipelines.job.nodes.check.ray.get", get)
    monkeypatch.setattr(check, "living_nodes", lambda: [NODE])
    asked = check._answer(NODE, None, 0.0, 0.0, lambda: False)
    assert (bool(asked.mishap), bool(asked.error)) == (is_mishap, not is_mishap)
    monkeypatch.setattr(check, "living_nodes", list)
    asked = check._answer(NODE, None, 0.0, 0.0, lambda: False)
    assert (asked.mishap, asked.error) == ("", "")


def test_a_job_at_its_end_waits_for_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray crashes where the connection is closed under a call."""
    cancelled = []

    def get(*_: object, timeout: float) -> None:
        time.sleep(timeout)
        raise GetTimeoutError

    monkeypatch.setattr("pipelines.job.nodes.check.ray.get", get)
    monkeypatch.setattr("pipelines.job.nodes.check.ray.cancel", lambda reference, force: cancelled.append(reference))
    began = time.monotonic()
    assert check._answer(NODE, "look", 0.0, began + 300, lambda: time.monotonic() > began + 1).is_open
    assert time.monotonic() < began + 60
    assert cancelled == ["look"]


def test_where_all_are_refused_there_is_no_job() -> None:
    refused = findings([Asked(NODE, 0.0, 1.0, error="broken")], QUESTIONS)
    head = Node("b2", "10.0.0.1", {})
    with pytest.raises(JobError, match=r"no node of the cluster can do this job:\n  node 10\.0\.0\.7 gets no work"):
        check_some_left([NODE, head], refused)
    check_some_left([NODE, Node("c3", "10.0.0.8", {"CPU": 1.0})], refused)
    assert refused_ids(refused) == {"a1"}


@pytest.mark.parametrize(
    ("refused", "options"),
    [(frozenset(), {}), (frozenset({"b2", "a1"}), {"label_selector": {"ray.io/node-id": "!in(a1,b2)"}})],
)
def test_what_is_refused_is_kept_away_from(refused: frozenset[str], options: Mapping[str, object]) -> None:
    assert away_from(refused) == options


def test_what_is_asked_depends_on_who_computes(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    own = load_config(AnswerConfig, None, [f"model.name={tmp_path}/mine", "model.backend=onnxruntime"])
    asked = questions_of(own)
    assert asked.model_folder == f"{tmp_path}/mine"
    assert {"torch", "transformers", "tokenizers", "pyarrow", "onnxruntime"} <= set(asked.packages)
    assert questions_of(load_config(AnswerConfig, None, ["model.name=minilm-qa"])).model_folder is None
    stored = questions_of(load_config(AnswerConfig, None, ["model.name=s3://bucket/models/mine"]))
    assert [(file.what, file.path) for file in stored.files] == [("the model", "bucket/models/mine")]
    shared = load_config(AnswerConfig, None, [f"model.name={tmp_path}/mine", "pool.kind=serve"])
    assert questions_of(shared) == Questions(("tokenizers", "pyarrow"))
