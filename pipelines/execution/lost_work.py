"""Ends a pass whose last shards are in the hands of a node that is gone."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator

_PATIENCE_SECONDS = 60.0
"""How long nothing may be computed, beside the time in which the first actor was ready: a node may join meanwhile, or
an actor that found room load its model."""
_LOOK_SECONDS = 1.0


class WorkLost(Exception):
    """Shards are in the hands of a node that is gone."""


@dataclass(frozen=True)
class _InHand:
    """What a pass has in hand."""

    waiting: int
    """Shards of actors that are to be started anew."""
    worked_on: int
    """Those of all other actors."""
    tasks: frozenset[tuple[int, int]]
    """Of the stages without actors: the place of the stage, and Ray's number of the task there."""
    outputs: int
    """Blocks that any stage has given so far."""


class LostWorkWatch(ExecutionCallback):
    """Looks at what a pass has in hand, step by step.

    Ray binds the calls in an actor's hands to it, also while it waits for room to be started anew; on a cluster that
    gets no node in place of one that died, they would wait for ever. Of a task on a node that died without a word, Ray
    hears when it closes its connection to it, up to seven minutes later. The next pass gives both to others.
    """

    def __init__(self) -> None:
        self._nodes = dict[str, str]()
        self._began = time.monotonic()
        self._gone = frozenset[str]()
        self._suspect = frozenset[tuple[int, int]]()
        self._start_seconds: float | None = None
        self._outputs = 0
        self._waits_since = self._began
        self._looked = 0.0

    def before_execution_starts(self, executor: Any) -> None:
        """Remembers which nodes there are, and when that was."""
        self._nodes = _living()
        self._began = time.monotonic()

    def on_execution_step(self, executor: Any) -> None:
        """Raises WorkLost where nothing but shards of nodes that are gone has been in hand for a minute and more."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        if self._start_seconds is None and _has_actor(executor):
            self._start_seconds = now - self._began
        found = _in_hand(executor)
        self._look_at_nodes(found)
        # Where actors are to be started anew, tasks wait for these, and also those begun since.
        only_suspects = bool(found.tasks) and found.tasks <= self._suspect
        may_be_lost = not found.worked_on and (found.waiting > 0 or only_suspects)
        # Before the first actor is ready, tasks wait for it, however long it takes.
        if not may_be_lost or found.outputs != self._outputs or self._start_seconds is None:
            self._waits_since = now
        self._outputs = found.outputs
        if self._gone and now - self._waits_since >= self._patience:
            raise WorkLost(self._message())

    def _look_at_nodes(self, found: _InHand) -> None:
        living = _living()
        # Those that join while the pass runs get work too, and may die as others do.
        self._nodes |= living
        gone = frozenset(self._nodes.keys() - living.keys())
        if gone != self._gone:
            # What begins from now on is begun elsewhere. Whether those in hand ran there, nobody here knows.
            self._gone, self._suspect = gone, self._suspect | found.tasks

    @property
    def _patience(self) -> float:
        """Seconds; an actor that Ray starts anew may need as long as the first one did."""
        return _PATIENCE_SECONDS + (self._start_seconds or 0.0)

    def _message(self) -> str:
        addresses = sorted({self._nodes[node] for node in self._gone})
        are = "node {} is" if len(addresses) == 1 else "nodes {} are"
        return (
            f"{are.format(', '.join(addresses))} gone, and nothing has been computed for {self._patience:.0f} s, so "
            "this round ends; the next one computes what is missing"
        )


def _in_hand(executor: Any) -> _InHand:
    states = [state for pool in _pools(executor) for state in pool._running_actors.values()]
    waiting = sum(state.num_tasks_in_flight for state in states if state.is_restarting)
    places = enumerate(executor._topology)
    others = [(place, stage) for place, stage in places if not isinstance(stage, ActorPoolMapOperator)]
    return _InHand(
        waiting,
        sum(state.num_tasks_in_flight for state in states) - waiting,
        frozenset((place, task.task_index()) for place, stage in others for task in stage.get_active_tasks()),
        sum(stage.metrics.num_outputs_taken for stage in executor._topology),
    )


def _has_actor(executor: Any) -> bool:
    """Whether any actor has been ready yet."""
    return any(pool._running_actors for pool in _pools(executor))


def _pools(executor: Any) -> Iterator[Any]:
    return (stage._actor_pool for stage in executor._topology if isinstance(stage, ActorPoolMapOperator))


def _living() -> dict[str, str]:
    """Addresses of the nodes that live, by id."""
    # Not `nodes.check.living_nodes`: workers import this module with the settings of the pass, and nothing more of us.
    nodes: Any = ray.nodes  # has no annotations
    return {node["NodeID"]: node["NodeManagerAddress"] for node in nodes() if node["Alive"]}
