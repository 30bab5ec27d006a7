"""Which nodes a job may use, and when they are asked again; their answers are those of machines that are not there."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from actors.version import versions_of
from pipelines.errors import JobError
from pipelines.execution import node_watch
from pipelines.execution.node_watch import NodeWatch, refused_by
from pipelines.job.nodes.check import Asked, Node
from pipelines.job.nodes.facts import NodeFacts, Questions
from tests.waiting import until

QUESTIONS = Questions(("pyarrow",))
VERSIONS = versions_of(QUESTIONS.packages)
ONE, OTHER = Node("a1", "10.0.0.7", {"CPU": 8.0}), Node("b2", "10.0.0.8", {"CPU": 8.0})


@dataclass
class _Cluster:
    """Nodes, and what each answers."""

    nodes: list[Node]
    wrong: dict[str, str] = field(default_factory=dict)
    """What a node cannot read, by id."""
    silent: set[str] = field(default_factory=set)
    is_slow: bool = False
    """Whether answers come when nobody wants them any more."""
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def ask(self, nodes: Sequence[Node], questions: Questions, stopped: Callable[[], bool]) -> list[Asked]:
        if self.is_slow:
            until(stopped)
        self.asked += [node.id for node in nodes]
        return [self._answer(node) for node in nodes]

    def _answer(self, node: Node) -> Asked:
        if node.id in self.silent:
            return Asked(node, 0.0, 1.0)
        facts = NodeFacts(f"host-{node.id}", 0.5, VERSIONS)
        if node.id in self.wrong:
            facts = replace(facts, unreachable={"OUTPUT s3://bucket/out": self.wrong[node.id]})
        return Asked(node, 0.0, 1.0, facts)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> _Cluster:
    made = _Cluster([ONE])
    monkeypatch.setattr(node_watch, "living_nodes", lambda: list(made.nodes))
    monkeypatch.setattr(node_watch, "ask", made.ask)
    return made


@pytest.fixture
def watch(cluster: _Cluster) -> NodeWatch:
    return NodeWatch(QUESTIONS, cluster.said.append)


def test_at_the_end_of_the_job_nobody_waits_for_a_node_that_has_just_joined(
    cluster: _Cluster, watch: NodeWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_watch, "_LOOK_SECONDS", 0.01)
    watch.begin()
    cluster.is_slow, cluster.wrong["b2"] = True, "no route to host"
    with watch.running():
        cluster.nodes.append(OTHER)
        until(watch._asking.locked)
    assert "node-watch" not in {thread.name for thread in threading.enumerate()}
    assert (watch.refused, cluster.said) == (frozenset(), [])


def test_a_node_that_joins_is_asked_while_the_watch_runs(
    cluster: _Cluster, watch: NodeWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_watch, "_LOOK_SECONDS", 0.01)
    watch.begin()
    assert refused_by(watch) == frozenset()
    cluster.wrong["b2"] = "no route to host"
    with watch.running():
        cluster.nodes.append(OTHER)
        while not watch.refused:
            pass
    assert watch.refused == {"b2"}
    assert cluster.asked == ["a1", "b2"]
    [said] = cluster.said
    assert said.startswith("node host-b2 (10.0.0.8) gets no work: it cannot read OUTPUT s3://bucket/out: no route")
    watch.check_some_left()
    assert cluster.asked == ["a1", "b2"], "while one is left, nobody is asked again"


def test_where_all_are_refused_at_the_beginning_there_is_no_job(cluster: _Cluster, watch: NodeWatch) -> None:
    cluster.wrong["a1"] = "no route to host"
    with pytest.raises(JobError, match=r"no node of the cluster can do this job:\n  node host-a1 .*no route to host"):
        watch.begin()


def test_where_all_are_refused_later_the_job_ends_with_the_reasons(cluster: _Cluster, watch: NodeWatch) -> None:
    """A pass away from every node that there is would wait for ever."""
    cluster.nodes.append(OTHER)
    watch.begin()
    cluster.wrong |= {"a1": "no route to host", "b2": "403 Forbidden"}
    watch.look_again()
    with pytest.raises(JobError, match=r"(?s)no node of the cluster .*host-a1 .*no route.*host-b2 .*403 Forbidden"):
        watch.check_some_left()


def test_the_last_good_node_has_left(cluster: _Cluster, watch: NodeWatch) -> None:
    cluster.nodes.append(OTHER)
    cluster.wrong["b2"] = "no route to host"
    watch.begin()
    cluster.nodes.remove(ONE)
    with pytest.raises(JobError, match="host-b2"):
        watch.check_some_left()


def test_a_node_whose_store_answers_again_gets_work_again(cluster: _Cluster, watch: NodeWatch) -> None:
    watch.begin()
    cluster.wrong["a1"] = "connection reset"
    watch.look_again()
    assert watch.refused == {"a1"}
    cluster.wrong.clear()
    watch.check_some_left()
    assert watch.refused == frozenset()
    assert cluster.said[-1].startswith("node host-a1 (10.0.0.7) gets work again")
    cluster.wrong["a1"] = "connection reset"
    watch.look_again()
    assert "gets no work" in cluster.said[-1], "it is said again"


def test_a_refused_node_that_does_not_answer_stays_refused(cluster: _Cluster, watch: NodeWatch) -> None:
    cluster.nodes.append(OTHER)
    cluster.wrong["b2"] = "no route to host"
    watch.begin()
    cluster.silent.add("b2")
    watch.look_again()
    assert watch.refused == {"b2"}


def test_a_node_that_did_not_answer_is_asked_again(cluster: _Cluster, watch: NodeWatch) -> None:
    cluster.silent.add("a1")
    watch.begin()
    assert watch.refused == frozenset()
    cluster.silent.clear()
    cluster.wrong["a1"] = "no route to host"
    assert watch.refuses("host-a1")
    assert cluster.asked == ["a1", "a1"]


def test_a_machine_that_has_just_joined_is_asked_before_it_is_blamed(cluster: _Cluster, watch: NodeWatch) -> None:
    watch.begin()
    cluster.nodes.append(OTHER)
    cluster.wrong["b2"] = "403 Forbidden"
    assert watch.refuses("host-b2")
    assert not watch.refuses("host-a1")
    assert not watch.refuses("somewhere-else")
