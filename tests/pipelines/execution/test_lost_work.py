"""When a pass whose last shards are in the hands of a dead node is ended; test_nodes has a real one."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator

from pipelines.execution import lost_work
from pipelines.execution.lost_work import LostWorkWatch, WorkLost, _in_hand, _InHand


@dataclass
class _Pass:
    """A pass as the watch sees it, at a time that the test sets."""

    now: float = 1_000.0
    nodes: dict[str, str] = field(default_factory=lambda: {"a1": "10.0.0.7"})
    waiting: int = 0
    worked_on: int = 0
    tasks: set[tuple[int, int]] = field(default_factory=set)
    outputs: int = 0
    has_actor: bool = True

    def after(self, seconds: float, watch: LostWorkWatch) -> None:
        self.now += seconds
        watch.on_execution_step(None)


@dataclass(frozen=True)
class _Metrics:
    num_outputs_taken: int


class _Pool(ActorPoolMapOperator):
    """One that has not been built: what counts is its kind."""

    metrics = property(lambda self: _Metrics(4))

    def __init__(self, actors: dict[str, object]) -> None:
        self.__dict__["_actor_pool"] = SimpleNamespace(_running_actors=actors)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> _Pass:
    made = _Pass()
    monkeypatch.setattr("pipelines.execution.lost_work.time.monotonic", lambda: made.now)
    monkeypatch.setattr(lost_work, "_living", lambda: dict(made.nodes))
    monkeypatch.setattr(
        lost_work, "_in_hand", lambda _: _InHand(made.waiting, made.worked_on, frozenset(made.tasks), made.outputs)
    )
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
    with pytest.raises(WorkLost, match=r"node 10\.0\.0\.8 is gone, and nothing has been computed for 65 s"):
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
    running.nodes.clear()
    running.after(5, watch)
    for number in range(10, 20):
        running.tasks = {(4, 8), (2, number)}  # begun after the node had gone
        running.after(60, watch)
    running.tasks = {(4, 8)}
    for _ in range(10):
        running.outputs += 1  # on a node that lives
        running.after(60, watch)
    running.after(60, watch)
    with pytest.raises(WorkLost, match=r"node 10\.0\.0\.7 is gone, .* for 65 s"):
        running.after(10, watch)


def test_tasks_begun_since_wait_for_the_actors_too(running: _Pass) -> None:
    watch = _begun()
    running.after(5, watch)
    running.nodes.clear()
    running.waiting = 2
    running.after(5, watch)
    running.tasks = {(2, 1)}  # its output has nowhere to go
    running.after(55, watch)
    with pytest.raises(WorkLost):
        running.after(10, watch)


def test_until_the_first_actor_is_ready_tasks_wait_for_it(running: _Pass) -> None:
    running.has_actor = False
    watch = _begun()
    running.tasks = {(2, 1)}
    running.nodes.clear()
    for _ in range(10):
        running.after(60, watch)
    running.has_actor = True
    running.after(600, watch)
    with pytest.raises(WorkLost, match=r"for 1260 s"):
        running.after(1260, watch)


def test_what_is_in_hand_is_read_off_rays_stages() -> None:
    actors: dict[str, object] = {
        "a": SimpleNamespace(is_restarting=True, num_tasks_in_flight=2),
        "b": SimpleNamespace(is_restarting=False, num_tasks_in_flight=3),
    }
    tasks = [SimpleNamespace(task_index=lambda: 7), SimpleNamespace(task_index=lambda: 9)]
    stage = SimpleNamespace(get_active_tasks=lambda: tasks, metrics=_Metrics(5))
    found = _in_hand(SimpleNamespace(_topology=[stage, _Pool(actors)]))
    assert found == _InHand(2, 3, frozenset({(0, 7), (0, 9)}), 9)
