"""A training run in the calling process: one device, no cluster."""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from actors.training.setup import WorkerRank
from pipelines.config.training import FinetuneConfig
from pipelines.evaluation.squad import SkippedRows
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.dataset import TrainingData
from pipelines.training.progress import TrainingProgress
from pipelines.training.worker import train_worker


def fit_here(
    config: FinetuneConfig, data: TrainingData, checkpoints: Checkpoints, console: Console
) -> tuple[SkippedRows, ...]:
    """As `ray_trainer.fit`, without Ray: by the first GPU, or by the threads of the CPU where there is none.

    `workers.number`, `workers.max_failures` and `ray` of the config mean nothing here: there is one worker, whose
    failure is the caller's.

    Raises:
        SpanmillError, ModelError: the run cannot go on.
    """
    worker = WorkerRank.alone(None if config.workers.cpus is None else max(int(config.workers.cpus), 1))
    with TrainingProgress(console) as progress:
        shown = _Shown(progress)
        train_worker(config, checkpoints, (data.examples, data.held_out), worker, shown)
    return tuple(shown.skipped)


@dataclass(frozen=True)
class _Shown:
    """Shows messages as they come, and keeps those that the model card names."""

    progress: TrainingProgress
    skipped: list[SkippedRows] = field(default_factory=list)

    def put(self, item: Any, /) -> None:
        if isinstance(item, SkippedRows):
            self.skipped.append(item)
        self.progress.add(item)
