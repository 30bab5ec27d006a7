"""What runs the model stage's shards: a model of its own, or the replicas of a running service."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from actors.arrays import Ints
from actors.backends.base import ModelOutput
from actors.engine.inference_task import Wanted
from actors.engine.pass_stats import PassStats
from actors.parameters import BatchingParameters, ModelParameters
from actors.serving.types import ModelIdentity
from actors.tenants import DEFAULT_TENANT

if TYPE_CHECKING:
    from actors.model_actor import ModelActor

RunShard = Callable[[pa.Buffer], tuple[pa.Table, PassStats]]
"""Runs a tokenised shard, an IPC stream (`Tokenized.to_ipc`); the columns have one row per row of the shard. Several
threads may call at once."""
RunPart = Callable[[pa.Buffer, Ints], tuple[pa.Table, PassStats]]
"""The same for some of its owners, [n]; one row for each of their results (`Tokenized.results_of`)."""


@dataclass(frozen=True)
class OwnModel:
    """A model that a stage loads for itself: the job owns its machines."""

    model: ModelParameters
    batching: BatchingParameters
    task: Wanted
    fingerprint: str
    """What the driver saw, and the model must be."""

    def open(self) -> RunShard:
        """Loads it.

        Raises:
            ModelError: it cannot be used, or is another one.
        """
        return partial(self._actor().process, wanted=self.task)

    def open_parts(self) -> RunPart:
        """As `open`, for some rows of a shard at a time."""
        actor = self._actor()
        return lambda prepared, owners: actor.process_part(prepared, self.task, owners)

    def _actor(self) -> "ModelActor":
        # Here and not above: torch takes seconds and hundreds of MB, in every worker of the other stages too.
        from actors.model_actor import ModelActor

        with_qa_head = ModelOutput.LOGITS in self.task.outputs
        return ModelActor(self.model, self.batching, with_qa_head, expected=self.fingerprint)


@dataclass(frozen=True)
class SharedModel:
    """The replicas of a running service, which online requests use too."""

    application: str
    """Name of the Ray Serve application."""
    task: Wanted
    expected: ModelIdentity
    """What the driver saw, and each replica must hold: the application may be deployed anew at any time."""
    tenant: str = DEFAULT_TENANT
    """Whose share of the replicas it takes."""
    deployment: str | None = None
    """Of the application, whose replicas hold the model; None for that of its first model."""

    def open(self) -> RunShard:
        """Finds the replicas."""
        # Jobs with models of their own need not load Ray Serve.
        from ray import serve

        from actors.serving.deployments import MODEL
        from pipelines.stages.model.serve_client import ServeClient

        handle = serve.get_deployment_handle(self.deployment or MODEL, self.application)
        return ServeClient(handle, self.task, self.expected, self.tenant).process
