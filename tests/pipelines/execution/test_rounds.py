"""The rounds of a job over receipts that are made up, by the nodes that wrote them; test_executor has whole jobs."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from actors.version import versions_of
from pipelines.errors import JobError
from pipelines.execution import executor, node_watch
from pipelines.execution.node_watch import NodeWatch
from pipelines.execution.stage_factory import make_stages
from pipelines.execution.stage_list import StageList
from pipelines.job.job import bind
from pipelines.job.nodes.check import Asked, Node
from pipelines.job.nodes.facts import NodeFacts, Questions
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.reporting.progress import Progress
from pipelines.reporting.run_observer import RunObserver
from pipelines.stages.pending_units import PendingUnit
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl

POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=1)
OLD, NEW = Node("a1", "10.0.0.7", {"CPU": 8.0}), Node("b2", "10.0.0.8", {"CPU": 8.0})
QUESTIONS = Questions(("pyarrow",))


def _cannot_write(host: str) -> Receipt:
    shard = ShardId(0, 0, False)
    return Receipt(shard, "in.jsonl", failed_in="write", error="403 Forbidden.", permanent=True, node=host)


class _Rounds:
    """A job whose rounds give these receipts, one list for each."""

    def __init__(self, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, rounds: list[list[Receipt]]) -> None:
        self.placements = list[object]()
        self.out = io.StringIO()
        self._rounds = rounds
        corpus = write_jsonl(folder / "in.jsonl", qa_rows(3))
        self._job = bind(make_job([corpus], folder / "out", model, "ray.passes=2"), replace=False)
        monkeypatch.setattr(executor, "build", self._build)
        monkeypatch.setattr(executor, "receipts", self._receipts)

    def _build(self, stages: StageList, pending: Sequence[PendingUnit]) -> None:
        self.placements.append(dict(stages.placement))

    def _receipts(self, _: None) -> Iterator[Receipt]:
        yield from self._rounds[len(self.placements) - 1]

    def run(self, watch: NodeWatch) -> None:
        progress = Progress(Console(file=self.out, width=200), 0, 1, 3)
        observer = RunObserver(self._job, progress.tally, 0)
        stages = make_stages(self._job, POOL)
        pending = PendingUnit.left(self._job.plan, self._job.committed())
        executor._Run(self._job, POOL, stages, progress, observer, [progress], watch).to_the_end(pending)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> NodeWatch:
    """Of a cluster whose second node cannot reach the output."""

    def ask(nodes: Sequence[Node], questions: Questions, **_: object) -> list[Asked]:
        wrong = {"OUTPUT s3://bucket/out": "403 Forbidden"}
        facts = {
            node.id: NodeFacts(
                f"host-{node.id}", 0.5, versions_of(questions.packages), (), wrong if node is NEW else {}
            )
            for node in nodes
        }
        return [Asked(node, 0.0, 1.0, facts[node.id]) for node in nodes]

    made = NodeWatch(QUESTIONS, lambda _: None)
    monkeypatch.setattr(node_watch, "ask", ask)
    monkeypatch.setattr(node_watch, "living_nodes", lambda: [OLD])
    made.begin()
    monkeypatch.setattr(node_watch, "living_nodes", lambda: [OLD, NEW])
    return made


def test_a_newcomer_that_cannot_write_ends_the_round_and_not_the_job(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch, watch: NodeWatch
) -> None:
    """And the next round leaves it out; the last receipt ends this job, since it is of a node that could write."""
    rounds = _Rounds(tmp_path, untrained_model, monkeypatch, [[_cannot_write("host-b2")], [_cannot_write("host-a1")]])
    with pytest.raises(JobError, match=r"403 Forbidden\. What is committed stays"):
        rounds.run(watch)
    assert rounds.placements == [{}, {"label_selector": {"ray.io/node-id": "!in(b2)"}}]
    assert "host-b2 joined and cannot write, so this round ends; the next one leaves it out" in rounds.out.getvalue()


def test_no_round_begins_where_every_node_is_refused(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch, watch: NodeWatch
) -> None:
    rounds = _Rounds(tmp_path, untrained_model, monkeypatch, [[_cannot_write("host-b2")], []])

    def only_the_newcomer_is_left() -> list[Node]:
        return [OLD, NEW] if not watch.refused else [NEW]

    monkeypatch.setattr(node_watch, "living_nodes", only_the_newcomer_is_left)
    with pytest.raises(JobError, match=r"no node of the cluster can do this job:\n  node host-b2 .*403 Forbidden"):
        rounds.run(watch)
    assert len(rounds.placements) == 1
