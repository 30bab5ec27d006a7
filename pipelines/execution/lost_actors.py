"""Ends a pass whose last shards wait for actors that cannot come back: their node is gone, and no other has room."""

import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator

from pipelines.words import counted

_PATIENCE_SECONDS = 60.0
"""How long nothing else may be computed, beside the time in which the first actor was ready: a node may join meanwhile,
or an actor that found room load its model."""
_LOOK_SECONDS = 1.0


class ActorsLost(Exception):
    """Shards wait for actors of a node that is gone."""


class LostActorWatch(ExecutionCallback):
    """Looks at the actor pools of a pass, step by step.

    Ray binds the calls in an actor's hands to it, also while it waits for room to be started anew; on a cluster that
    gets no node in place of one that died, they would wait for ever. The next pass gives them to others.
    """

    def __init__(self) -> None:
        self._nodes = dict[str, str]()
        self._began = time.monotonic()
        self._start_seconds: float | None = None
        self._waits_since: float | None = None
        self._looked = 0.0

    def before_execution_starts(self, executor: Any) -> None:
        """Remembers which nodes there are, and when that was."""
        self._nodes = _living()
        self._began = time.monotonic()

    def on_execution_step(self, executor: Any) -> None:
        """Raises ActorsLost where nothing but shards of lost actors has been in hand for some minutes."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        # Those that join while the pass runs get actors too, and may die as others do.
        self._nodes |= _living()
        if self._start_seconds is None and _has_actor(executor):
            self._start_seconds = now - self._began
        waiting, worked_on = _in_hand(executor)
        if not waiting or worked_on:
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now
        elif now - self._waits_since >= self._patience:
            self._check_nodes(waiting)

    @property
    def _patience(self) -> float:
        """Seconds; an actor that Ray starts anew may need as long as the first one did."""
        return _PATIENCE_SECONDS + (self._start_seconds or 0.0)

    def _check_nodes(self, waiting: int) -> None:
        gone = self._nodes.keys() - _living().keys()
        if gone:
            listed = ", ".join(sorted(self._nodes[node] for node in gone))
            raise ActorsLost(
                f"{counted(waiting, 'shard')} wait for an actor of node {listed}, which is gone, and no other node has "
                f"had an actor ready for them within {self._patience:.0f} s; the next round gives them to those that "
                "are left"
            )


def _in_hand(executor: Any) -> tuple[int, int]:
    """Shards in the hands of actors that are to be started anew, and in those of all others."""
    waiting = worked_on = 0
    for pool in _pools(executor):
        for state in pool._running_actors.values():
            if state.is_restarting:
                waiting += state.num_tasks_in_flight
            else:
                worked_on += state.num_tasks_in_flight
    return waiting, worked_on


def _has_actor(executor: Any) -> bool:
    """Whether any actor has been ready yet."""
    return any(pool._running_actors for pool in _pools(executor))


def _pools(executor: Any) -> Iterator[Any]:
    for operator in executor._topology:
        if isinstance(operator, ActorPoolMapOperator):
            yield operator._actor_pool


def _living() -> dict[str, str]:
    """Addresses of the nodes that live, by id."""
    # Not `node_check.living_nodes`: workers import this module with the settings of the pass, and nothing more of us.
    nodes: Any = ray.nodes  # has no annotations
    return {node["NodeID"]: node["NodeManagerAddress"] for node in nodes() if node["Alive"]}
