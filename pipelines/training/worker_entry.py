"""The entry point of a worker. Ray Train's controller unpickles it too, so it must not import PyTorch at the top."""

from dataclasses import dataclass
from typing import Any

from ray.util.queue import Queue

from pipelines.config.training import FinetuneConfig
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.messages import WorkerFailed


@dataclass(frozen=True)
class Assignment:
    """Everything that a worker needs to know."""

    config: FinetuneConfig
    checkpoints: Checkpoints
    tables: Any
    """Ray object reference of (examples, held-out rows), both EXAMPLE_SCHEMA."""
    threads: int
    messages: Queue
    """Takes the messages of `pipelines.training.messages` and `SkippedRows`, which the driver shows."""


def train(settings: dict[str, Assignment]) -> None:
    """Runs on every worker; Ray Train calls it again after a worker has died.

    Raises:
        SpanmillError, ModelError: the run cannot go on.
    """
    import ray.train.torch

    from actors.errors import ModelError
    from actors.training.setup import WorkerRank
    from pipelines.training.worker import train_worker

    assignment, context = settings["assignment"], ray.train.get_context()
    worker = WorkerRank(
        device=ray.train.torch.get_device(),
        threads=assignment.threads,
        rank=context.get_world_rank(),
        workers=context.get_world_size(),
        wrap=ray.train.torch.prepare_model,
    )
    tables = ray.get(assignment.tables)
    try:
        train_worker(assignment.config, assignment.checkpoints, tables, worker, assignment.messages)
    except ModelError as error:
        # Another try would fail in the same way, and Ray Train cannot know that.
        assignment.messages.put(WorkerFailed(str(error)))
        raise
