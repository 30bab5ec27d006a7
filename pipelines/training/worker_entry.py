"""The entry point of a worker. Ray Train's controller unpickles it too, so it must not import PyTorch at the top."""

from dataclasses import dataclass
from typing import Any

from ray.util.queue import Queue

from pipelines.config.training import FinetuneConfig
from pipelines.training.checkpoints import Checkpoints


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
    """Runs on every worker; Ray Train calls it again after a worker has died."""
    from pipelines.training.worker import work

    work(settings["assignment"])
