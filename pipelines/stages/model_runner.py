"""What the model stage hands its shards to: a model of its own, or the replicas of a running service."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from actors.engine.inference_task import Wanted
from actors.engine.pass_stats import PassStats
from actors.parameters import BatchingParameters, ModelParameters

if TYPE_CHECKING:
    from actors.model_actor import ModelActor


class Runner(Protocol):
    """Windows in, result columns out; several threads may call at once."""

    def process(self, prepared: pa.Buffer) -> tuple[pa.Table, PassStats]:
        """Runs a prepared shard, an IPC stream; the columns have one row per row of the shard."""
        ...


@dataclass(frozen=True)
class OwnModel:
    """A model that a stage loads for itself: the job owns its machines."""

    model: ModelParameters
    batching: BatchingParameters
    task: Wanted
    fingerprint: str
    """What the driver saw, and the model must be."""

    def open(self) -> Runner:
        """Loads it.

        Raises:
            ModelError: it cannot be used, or is another one.
        """
        # Here and not above: torch takes seconds and hundreds of MB, in every worker of the other stages too.
        from actors.model_actor import ModelActor

        actor = ModelActor(self.model, self.batching, with_qa_head=self.task.qa is not None, expected=self.fingerprint)
        return _Own(actor, self.task)


@dataclass(frozen=True)
class SharedModel:
    """The replicas of a running service, which online requests use too."""

    application: str
    """Name of the Ray Serve application."""
    task: Wanted

    def open(self) -> Runner:
        """Finds the replicas."""
        from pipelines.stages.serve_client import ServeClient

        return ServeClient(self.application, self.task)


@dataclass(frozen=True)
class _Own:
    actor: "ModelActor"
    task: Wanted

    def process(self, prepared: pa.Buffer) -> tuple[pa.Table, PassStats]:
        return self.actor.process(prepared, self.task)
