"""When a pass whose last shards wait for actors of a dead node is ended; test_nodes has a real one."""

from dataclasses import dataclass, field

import pytest

from pipelines.execution import lost_actors
from pipelines.execution.lost_actors import ActorsLost, LostActorWatch


@dataclass
class _Pass:
    """A pass as the watch sees it, at a time that the test sets."""

    now: float = 1_000.0
    nodes: dict[str, str] = field(default_factory=lambda: {"a1": "10.0.0.7"})
    waiting: int = 0
    worked_on: int = 0
    has_actor: bool = True

    def after(self, seconds: float, watch: LostActorWatch) -> None:
        self.now += seconds
        watch.on_execution_step(None)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> _Pass:
    made = _Pass()
    monkeypatch.setattr("pipelines.execution.lost_actors.time.monotonic", lambda: made.now)
    monkeypatch.setattr(lost_actors, "_living", lambda: dict(made.nodes))
    monkeypatch.setattr(lost_actors, "_in_hand", lambda _: (made.waiting, made.worked_on))
    monkeypatch.setattr(lost_actors, "_has_actor", lambda _: made.has_actor)
    return made


def _begun() -> LostActorWatch:
    watch = LostActorWatch()
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
    with pytest.raises(ActorsLost, match=r"3 shards wait for an actor of node 10\.0\.0\.8, which is gone"):
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
    with pytest.raises(ActorsLost, match="within 360 s"):
        running.after(10, watch)
