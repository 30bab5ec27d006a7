"""The stages of a job in order, each with what it runs on; passes, the search for poison rows and estimates run it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pipelines.job.pool_size import ActorPool
from pipelines.stages.base import ShardStage
from pipelines.stages.read import ReadStage
from pipelines.stages.write import WriteStage

AnyShardStage = ShardStage[Any, Any]
S = TypeVar("S", bound=ReadStage | AnyShardStage, covariant=True)


@dataclass(frozen=True)
class TaskStage(Generic[S]):
    """A stage that keeps nothing between shards, and runs as Ray tasks."""

    stage: S
    cpus: float
    """Share of a CPU of one task. Neighbours have different ones, since Ray fuses those that ask for the same."""

    @property
    def name(self) -> str:
        """Of the stage."""
        return self.stage.name

    def open(self) -> S:
        """The stage, ready to be called."""
        return self.stage

    def open_alone(self) -> S:
        """As `open`: it has nothing to share."""
        return self.stage


@dataclass(frozen=True)
class ActorStage:
    """A stage that is costly to make, since it loads something, and lives in the actors of a pool."""

    kind: type[AnyShardStage]
    arguments: tuple[object, ...]
    """Of its constructor."""
    arguments_alone: tuple[object, ...]
    """The same for a process of its own that may die, where nothing of anybody else's may be used."""
    pool: ActorPool

    @property
    def name(self) -> str:
        """Of the stage."""
        return self.kind.name

    def open(self) -> AnyShardStage:
        """The stage, made in this process."""
        return self.kind(*self.arguments)

    def open_alone(self) -> AnyShardStage:
        """The stage, made in this process, with nothing that others use."""
        return self.kind(*self.arguments_alone)


@dataclass(frozen=True)
class StageList:
    """Everything that a worker needs, ready to be sent to it."""

    read: TaskStage[ReadStage]
    compute: tuple[TaskStage[AnyShardStage] | ActorStage, ...]
    """From a `RawMessage` to a `ResultsMessage`. A row can break one of these, so the search for a poison row runs
    them all; a stage of one's own belongs here."""
    write: TaskStage[WriteStage]
    placement: Mapping[str, Any] = field(default_factory=dict)
    """Options of Ray for all of their tasks and actors: which nodes they stay away from (`nodes.check.away_from`)."""

    def __iter__(self) -> Iterator[TaskStage[ReadStage | AnyShardStage] | ActorStage]:
        yield self.read
        yield from self.compute
        yield self.write

    def is_compute(self, name: str) -> bool:
        """Whether a stage of this name works on rows, as against on a store."""
        return any(stage.name == name for stage in self.compute)
