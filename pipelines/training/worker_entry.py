"""What Ray Train is handed: its controller unpickles it too, and needs none of what makes models."""

from dataclasses import dataclass
from typing import Any

from ray.util.queue import Queue

from pipelines.config.training import FinetuneConfig
from pipelines.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class Assignment:
    """Everything that a worker is told."""

    config: FinetuneConfig
    checkpoints: Checkpoints
    tables: Any
    """Reference of (examples, held-out rows), both EXAMPLE_SCHEMA."""
    threads: int
    words: Queue
    """Takes what people should know."""


def train(settings: dict[str, Assignment]) -> None:
    """Runs on every worker; Ray Train calls it anew when a worker has died."""
    from pipelines.training.worker import work

    work(settings["assignment"])
