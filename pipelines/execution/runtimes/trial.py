"""Actors in which runtimes are tried: of the pool's kind, on a machine of its cluster."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.backends.base import ModelOutput, find_runtime
from actors.backends.fingerprint import weight_files
from actors.backends.host_memory import HostMemory
from actors.errors import first_line
from actors.models.hub import find_model
from actors.models.runtime_choice import (
    BASELINE,
    Candidate,
    RuntimeChoice,
    as_baseline,
    candidates,
    recalled,
    remember,
)
from actors.parameters import ModelParameters
from pipelines.execution.runtimes.comparison import Lap, OutOfTime, TrialFailed
from pipelines.job.pool_size import ActorPool
from pipelines.stages.model.runner import OwnModel, RunShard

_LOAD_SECONDS = 3.0
"""Until a model is loaded and warm, without its conversion; a guess, as all of these."""
_BYTES_PER_SECOND = 200e6
_PROCESS_BYTES = 1 << 30
"""Of an actor, beside the weights."""
_SHARE_OF_MEMORY = 0.7
_START_SECONDS = 60.0
"""Longest that a process may take until it answers at all."""


@dataclass(frozen=True)
class Survey:
    """What a machine of the pool has to compare."""

    costs: dict[Candidate, float]
    """Seconds until each is ready, about; torch first, then the cheapest."""
    kept: RuntimeChoice | None
    """The last choice on such a machine."""
    node: str
    """Ray's id of the machine."""
    most_actors: int
    """That its free memory holds."""


class TrialActor:
    """Models of several runtimes in one process, started when they are asked for."""

    def __init__(self, own: OwnModel) -> None:
        """Takes the model as an actor of the job would load it, but for runtime and type."""
        self._own = own
        self._running: dict[Candidate, RunShard] = {}

    def survey(
        self, asked: ModelParameters, wanted: frozenset[ModelOutput], on_gpu: bool, names: Sequence[str]
    ) -> Survey:
        """Looks at what is installed here; starts nothing."""
        folder = find_model(as_baseline(asked))
        found = candidates(folder, asked, wanted, on_gpu, names)
        weights = sum(file.stat().st_size for file in weight_files(folder, find_runtime(BASELINE).weights))
        costs = {one: _start_cost(one, folder, weights) for one in found}
        kept = recalled(folder, asked, on_gpu, found)
        first = None if kept is None else kept.candidate
        order = sorted(found, key=lambda one: (one.backend != BASELINE, one != first, costs[one]))
        most = int(_SHARE_OF_MEMORY * (HostMemory().limit() or 0) / (2 * weights + _PROCESS_BYTES))
        node = ray.get_runtime_context().get_node_id()
        return Survey({one: costs[one] for one in order}, kept, node, most)

    def start(self, candidate: Candidate, windows: pa.Buffer) -> float:
        """Loads a candidate and runs the windows once, so that its batcher has learnt something."""
        began = time.monotonic()
        self._started(candidate, windows)
        return time.monotonic() - began

    def lap(self, candidate: Candidate, windows: pa.Buffer) -> Lap:
        """Runs the windows once."""
        run = self._started(candidate, windows)
        began = time.monotonic()
        _, stats = run(windows)
        return Lap(stats.total.tokens, stats.total.windows, time.monotonic() - began)

    def drop(self, candidate: Candidate) -> None:
        """Forgets a candidate."""
        self._running.pop(candidate, None)

    def remember(
        self, asked: ModelParameters, on_gpu: bool, allowed: Sequence[Candidate], choice: RuntimeChoice
    ) -> None:
        """Keeps a choice on this machine."""
        remember(find_model(as_baseline(asked)), asked, on_gpu, allowed, choice)

    def _started(self, candidate: Candidate, windows: pa.Buffer) -> RunShard:
        if candidate not in self._running:
            run = replace(self._own, model=candidate.of(self._own.model)).open()
            run(windows)
            self._running[candidate] = run
        return self._running[candidate]


@dataclass
class PoolTrial:
    """A `Trial` in one actor of the pool, or in several that compute at the same time."""

    own: OwnModel
    pool: ActorPool
    windows: Any
    """Reference to `Tokenized.to_ipc`."""
    actors: int = 1
    node: str | None = None
    """Where they have to be; None leaves it to Ray."""

    def __post_init__(self) -> None:
        self._handles: list[Any] = []

    def survey(
        self, asked: ModelParameters, wanted: frozenset[ModelOutput], on_gpu: bool, names: Sequence[str]
    ) -> Survey:
        """What its machine has to compare.

        Raises:
            TrialFailed: it cannot be looked at.
            OutOfTime: there is no room for an actor.
        """
        found: Survey = self._all("survey", _START_SECONDS, asked, wanted, on_gpu, tuple(names))[0]
        return found

    def start(self, candidate: Candidate, seconds: float) -> float:
        """See `Trial`."""
        return float(max(self._all("start", seconds, candidate, self.windows)))

    def lap(self, candidate: Candidate, seconds: float) -> Lap:
        """See `Trial`; of several actors, what they did together in the time of the slowest."""
        laps: list[Lap] = self._all("lap", seconds, candidate, self.windows)
        return Lap(sum(lap.tokens for lap in laps), sum(lap.windows for lap in laps), max(lap.seconds for lap in laps))

    def drop(self, candidate: Candidate) -> None:
        """See `Trial`."""
        for handle in self._handles:
            handle.drop.remote(candidate)

    def remember(
        self, asked: ModelParameters, on_gpu: bool, allowed: Sequence[Candidate], choice: RuntimeChoice
    ) -> None:
        """Keeps a choice on its machine."""
        self._all("remember", _START_SECONDS, asked, on_gpu, allowed, choice)

    def close(self) -> None:
        """Ends its processes."""
        for handle in self._handles:
            ray.kill(handle)
        self._handles = []

    def _all(self, method: str, seconds: float, *arguments: object) -> list[Any]:
        """What all actors give, which run at the same time."""
        if not self._handles:
            self._handles = [self._actor() for _ in range(self.actors)]
        try:
            calls = [getattr(handle, method).remote(*arguments) for handle in self._handles]
            return list(ray.get(calls, timeout=max(seconds, 0.1)))
        except GetTimeoutError as error:
            self.close()
            raise OutOfTime from error
        except RayTaskError as error:
            raise TrialFailed(first_line(error.cause if isinstance(error.cause, Exception) else error)) from error
        except RayActorError as error:
            # The next call starts others, which load what they need.
            self.close()
            raise TrialFailed("its process ended: it crashed, or had no memory left") from error

    def _actor(self) -> Any:
        place = None if self.node is None else NodeAffinitySchedulingStrategy(self.node, soft=False)
        kind = ray.remote(TrialActor).options(
            num_cpus=self.pool.cpus, num_gpus=self.pool.gpus, scheduling_strategy=place, max_restarts=0
        )
        return kind.remote(self.own)


def _start_cost(candidate: Candidate, folder: Path, weights: int) -> float:
    runtime, seconds = find_runtime(candidate.backend), _LOAD_SECONDS + weights / _BYTES_PER_SECOND
    return seconds if runtime.is_ready(folder, candidate.dtype) else seconds + runtime.conversion_seconds
