"""What one worker of a training run does, from loading the models to the last step. It knows nothing of Ray."""

from pathlib import Path

import pyarrow as pa

from actors.models.hub import find_model
from actors.parameters import ModelParameters
from actors.training.checkpoint_state import load_state
from actors.training.setup import Sources, TrainingSetup, WorkerRank, assemble
from pipelines.config.training import FinetuneConfig, SourceModel
from pipelines.evaluation.squad import MOST_PLACES, SkippedRows
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.messages import Messages, TeacherAlignment
from pipelines.training.rank_zero import RankZero, follow


def train_worker(
    config: FinetuneConfig,
    checkpoints: Checkpoints,
    tables: tuple[pa.Table, pa.Table],
    worker: WorkerRank,
    messages: Messages,
) -> None:
    """Trains from the last checkpoint, or from the base, to the end.

    Args:
        tables: examples and held-out rows, both EXAMPLE_SCHEMA.

    Raises:
        SpanmillError, ModelError: the run cannot go on.
    """
    examples, held_out = tables
    setup = assemble(find_sources(config), config.qa, config.training, examples, worker)
    found = checkpoints.latest()
    first = 0 if found is None else load_state(found[1], setup.student, setup.loop.trainer, found[0])
    if worker.rank == 0:
        for note in (*_left_out(setup, examples["id"]), *_alignment(setup)):
            messages.put(note)
        RankZero(config, checkpoints, setup, held_out, messages).train(first)
    else:
        follow(config, setup, held_out, first)


def _left_out(setup: TrainingSetup, ids: pa.ChunkedArray) -> list[SkippedRows]:
    return [
        SkippedRows(reason, len(rows), tuple(ids.take(pa.array(rows[:MOST_PLACES])).to_pylist()))
        for reason, rows in setup.left_out.items()
    ]


def _alignment(setup: TrainingSetup) -> list[TeacherAlignment]:
    teacher = setup.loop.pairs.teacher
    if teacher is None:
        return []
    share = None if teacher.spec.tokenizer_json == setup.spec.tokenizer_json else teacher.exact_share
    unread = int(teacher.unread.sum())
    return [TeacherAlignment(share, len(teacher.unread), unread)] if share is not None or unread else []


def find_sources(config: FinetuneConfig) -> Sources:
    """Base and teacher on this machine; see `actors.models.hub.find_model`."""
    teacher = None if config.teacher is None else _find(config.teacher, "teacher")
    return Sources(_find(config.base, "base"), teacher, config.halve)


def _find(source: SourceModel, key: str) -> Path:
    return find_model(ModelParameters(name=source.name, revision=source.revision, storage=source.storage), key)
