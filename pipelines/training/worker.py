"""What one worker of a training run does, from loading the models to the last step."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import ray
import ray.train
import ray.train.torch

from actors.errors import ModelError
from actors.models.hub import find_model
from actors.parameters import ModelParameters
from actors.training.checkpoint_state import load_state
from actors.training.setup import Sources, TrainingSetup, WorkerRank, assemble
from pipelines.config.training import FinetuneConfig, SourceModel
from pipelines.evaluation.squad import MOST_PLACES, SkippedRows
from pipelines.training.messages import WorkerFailed
from pipelines.training.rank_zero import RankZero, follow

if TYPE_CHECKING:
    from pipelines.training.worker_entry import Assignment


def work(assignment: "Assignment") -> None:
    """Trains from the last checkpoint, or from the base, to the end.

    Raises:
        SpanmillError, ModelError: the run cannot go on.
    """
    try:
        _work(assignment)
    except ModelError as error:
        # Another try would fail in the same way, and Ray Train cannot know that.
        assignment.messages.put(WorkerFailed(str(error)))
        raise


def _work(assignment: "Assignment") -> None:
    config, checkpoints = assignment.config, assignment.checkpoints
    context = ray.train.get_context()
    rank = context.get_world_rank()
    examples, held_out = ray.get(assignment.tables)
    worker = WorkerRank(
        device=ray.train.torch.get_device(),
        threads=assignment.threads,
        rank=rank,
        workers=context.get_world_size(),
        wrap=ray.train.torch.prepare_model,
    )
    setup = assemble(find_sources(config), config.qa, config.training, examples, worker)
    found = checkpoints.latest()
    first = 0 if found is None else load_state(found[1], setup.student, setup.loop.trainer, found[0])
    if rank == 0:
        for skipped in _left_out(setup, examples["id"]):
            assignment.messages.put(skipped)
        RankZero(config, checkpoints, setup, held_out, assignment.messages).train(first)
    else:
        follow(config, setup, held_out, first)


def _left_out(setup: TrainingSetup, ids: pa.ChunkedArray) -> list[SkippedRows]:
    return [
        SkippedRows(reason, len(rows), tuple(ids.take(pa.array(rows[:MOST_PLACES])).to_pylist()))
        for reason, rows in setup.left_out.items()
    ]


def find_sources(config: FinetuneConfig) -> Sources:
    """Base and teacher on this machine; see `actors.models.hub.find_model`."""
    teacher = None if config.teacher is None else _find(config.teacher, "teacher")
    return Sources(_find(config.base, "base"), teacher, config.halve)


def _find(source: SourceModel, key: str) -> Path:
    return find_model(ModelParameters(name=source.name, revision=source.revision, storage=source.storage), key)
