"""A worker of a training run."""

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
from pipelines.evaluation.squad import NAMED, LeftOut
from pipelines.training.messages import Failed
from pipelines.training.rank_zero import RankZero

if TYPE_CHECKING:
    from pipelines.training.worker_entry import Assignment


def work(assignment: "Assignment") -> None:
    """Takes all steps from the last checkpoint on.

    Raises:
        SpanmillError, ModelError: whatever keeps the run from its end.
    """
    try:
        _work(assignment)
    except ModelError as error:
        # Another try would end alike, and Ray Train does not know.
        assignment.words.put(Failed(str(error)))
        raise


def _work(assignment: "Assignment") -> None:
    config, checkpoints = assignment.config, assignment.checkpoints
    context = ray.train.get_context()
    rank = context.get_world_rank()
    examples, held_out = ray.get(assignment.tables)
    place = WorkerRank(
        device=ray.train.torch.get_device(),
        threads=assignment.threads,
        rank=rank,
        workers=context.get_world_size(),
        wrap=ray.train.torch.prepare_model,
    )
    assembly = assemble(find_sources(config), config.qa, config.training, examples, place)
    found = checkpoints.latest()
    first = 0 if found is None else load_state(found[1], assembly.student, assembly.run.learner, found[0])
    if rank == 0:
        for one in _left_out(assembly, examples["id"]):
            assignment.words.put(one)
        RankZero(config, checkpoints, assembly, held_out, assignment.words).oversee(first)
    else:
        for _ in assembly.run.steps(first):
            pass


def _left_out(assembly: TrainingSetup, ids: pa.ChunkedArray) -> list[LeftOut]:
    return [
        LeftOut(flaw, len(rows), tuple(ids.take(pa.array(rows[:NAMED])).to_pylist()))
        for flaw, rows in assembly.left_out.items()
    ]


def find_sources(config: FinetuneConfig) -> Sources:
    """Base and teacher on this machine; see `actors.models.hub.find_model`."""
    teacher = None if config.teacher is None else _find(config.teacher, "teacher")
    return Sources(_find(config.base, "base"), teacher, config.halve)


def _find(source: SourceModel, key: str) -> Path:
    return find_model(ModelParameters(name=source.name, revision=source.revision, storage=source.storage), key)
