"""When a pass whose last shards are in the hands of a dead node is ended; test_nodes has a real one."""

from dataclasses import dataclass, field

import pytest

from pipelines.execution import lost_work
from pipelines.execution.lost_work import LostWorkWatch, WorkLost, _InHand


@dataclass
class _Pass:
    """A pass as the watch sees it, at a time that the test sets."""

    now: float = 1_000.0
    nodes: dict[str, str] = field(default_factory=lambda: {"a1": "10.0.0.7"})
    waiting: int = 0
    worked_on: int = 0
    tasks: set[tuple[int, int]] = field(default_factory=set)
    has_actor: bool = True

    def after(self, seconds: float, watch: LostWorkWatch) -> None:
        self.now += seconds
        watch.on_execution_step(None)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> _Pass:
    made = _Pass()
    monkeypatch.setattr("pipelines.execution.lost_work.time.monotonic", lambda: made.now)
    monkeypatch.setattr(lost_work, "_living", lambda: dict(made.nodes))
    monkeypatch.setattr(lost_work, "_in_hand", lambda _: _InHand(made.waiting, made.worked_on, frozenset(made.tasks)))
    monkeypatch.setattr(lost_work, "_has_actor", lambda _: made.has_actor)
    return made


def _begun() -> LostWorkWatch:
    watch = LostWorkWatch()
    watch.before_execution_starts(None)
    return watch


def test_a_node_that_joined_later_and_died_is_missed(running: _Pass) -> None:
    watch = _begun()
    running.nodes["b2"] = "10.0.0.8"
    running.after(5, watch)
    del running.nodes["b2"]
    running.waiting = 3
    running.after(5, watch)
    running.after(59, watch)
    with pytest.raises(WorkLost, match=r"3 shards were in the hands of node 10\.0\.0\.8, which is gone"):
        running.after(10, watch)


def test_while_others_compute_or_all_nodes_live_nothing_is_lost(running: _Pass) -> None:
    watch = _begun()
    running.waiting = 1
    for _ in range(10):
        running.after(60, watch)
    del running.nodes["a1"]
    running.worked_on = 1
    for _ in range(10):
        running.after(60, watch)


def test_an_actor_has_the_time_that_the_first_one_needed(running: _Pass) -> None:
    """A large model loads for minutes, on another node too."""
    running.has_actor = False
    watch = _begun()
    running.after(200, watch)
    running.has_actor = True
    running.after(100, watch)
    del running.nodes["a1"]
    running.waiting = 1
    running.after(5, watch)
    running.after(350, watch)
    with pytest.raises(WorkLost, match="for 360 s"):
        running.after(10, watch)


def test_tasks_of_a_node_that_is_gone_are_waited_for_while_others_get_on(running: _Pass) -> None:
    watch = _begun()
    running.tasks = {(4, 7), (4, 8), (2, 9)}
    running.after(5, watch)
    del running.nodes["a1"]
    running.after(5, watch)
    for number in range(10, 20):
        running.tasks = {(4, 8), (2, number)}  # begun after the node had gone
        running.after(60, watch)
    running.tasks = {(4, 8), (4, 7)}
    running.after(5, watch)
    running.after(55, watch)
    running.tasks = {(4, 8)}  # the other one was on a node that lives
    running.after(5, watch)
    running.after(55, watch)
    with pytest.raises(WorkLost, match=r"1 shard was in the hands of node 10\.0\.0\.7, .* for 65 s"):
        running.after(10, watch)
