"""Setup of a training worker: loads its models, prepares its dataset and creates its trainer."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn
from transformers import PreTrainedModel

from actors.arrays import Longs
from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError
from actors.models.loading import load_spec
from actors.parameters import QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.training.dataset import Pairs, Texts, UntrainableReason
from actors.training.embedding_texts import choose_texts
from actors.training.loop import TrainingLoop, total_steps
from actors.training.objective import Objective
from actors.training.parameters import TrainingParameters
from actors.training.student import halve, load_base
from actors.training.trainer import Trainer, freeze, set_dropout


@dataclass(frozen=True)
class Sources:
    """Folders of the models on this machine."""

    base: Path
    teacher: Path | None
    halved: bool


@dataclass(frozen=True)
class WorkerRank:
    """Rank and device of one worker."""

    device: torch.device
    threads: int
    rank: int = 0
    workers: int = 1
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module
    """Wraps the objective so that all workers share gradients, as DistributedDataParallel does."""

    @classmethod
    def alone(cls, threads: int | None = None) -> "WorkerRank":
        """The only worker of a run: on the first GPU, or on the CPU where there is none; None means torch's threads."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return cls(device, threads or torch.get_num_threads())


@dataclass(frozen=True)
class TrainingSetup:
    """A worker that is ready to train: its student model and its training loop."""

    student: PreTrainedModel
    loop: TrainingLoop
    spec: EncoderSpec
    left_out: Mapping[UntrainableReason, Longs]
    """[X] rows of the table that give no training windows, for every reason that occurs."""


def assemble(
    sources: Sources, qa: QAParameters, parameters: TrainingParameters, table: pa.Table, worker: WorkerRank
) -> TrainingSetup:
    """Loads, tokenises and labels everything; the same arguments give the same run on every machine.

    Args:
        table: with the columns question, context, answer_texts and answer_starts; the first answer is the label.

    Raises:
        ModelError: base or teacher cannot be used, or there are too few windows to learn from.
    """
    torch.set_num_threads(worker.threads)
    spec = load_spec(sources.base)
    student = load_student(sources, parameters.seed)
    nn.Module.to(student, device=worker.device)
    teacher = None if sources.teacher is None else _load_teacher(sources.teacher, worker.device)
    teacher_spec = None if sources.teacher is None else load_spec(sources.teacher)
    pairs, left_out = Pairs.make(spec, qa, table, *answer_places(table), teacher_spec)
    _check_shares(len(pairs.lengths), parameters.batch_size, worker.workers)
    if not spec.pair.has_cls and (pairs.labels.first < 0).any():
        raise ModelError(
            "the base's tokenizer has no CLS token, by which a window says that it does not answer; name another --base"
        )
    texts, kept = None, None
    if parameters.embeddings.distance is not None:
        texts = Texts.make(spec, choose_texts(table, parameters), parameters.embeddings.max_tokens)
        # Copied before a checkpoint is loaded into the student, so that a resumed run keeps to the same base.
        kept = copy.deepcopy(student.base_model).train(False)
    freeze(student, parameters)
    set_dropout(student, parameters)
    student.train()
    objective = Objective(student, teacher, kept, parameters)
    steps = total_steps(len(pairs.lengths), parameters)
    trainer = Trainer(worker.wrap(objective), parameters, steps, worker.device, worker.rank)
    loop = TrainingLoop(pairs, texts, trainer, parameters, worker.device, worker.rank, worker.workers)
    return TrainingSetup(student, loop, spec, left_out)


def load_student(sources: Sources, seed: int) -> PreTrainedModel:
    """The student model as it is before the first step.

    Raises:
        ModelError: the base cannot be used, or cannot be halved.
    """
    base = load_base(sources.base, seed)
    return halve(base) if sources.halved else base


def answer_places(table: pa.Table) -> tuple[Longs, Longs]:
    """[R] first code point of each row's first answer, -1 where there is none, and the one after its last."""
    starts, texts = (table[name].combine_chunks() for name in ("answer_starts", "answer_texts"))
    answered = np.diff(starts.offsets.to_numpy()) > 0
    first = starts.offsets.to_numpy()[:-1][answered] - starts.offsets[0].as_py()
    begin = np.full(len(table), -1, dtype=np.int64)
    begin[answered] = starts.flatten().to_numpy()[first]
    lengths = pc.utf8_length(texts.flatten()).to_numpy()
    end = begin.copy()
    end[answered] += lengths[first]
    return begin, end


def _check_shares(windows: int, batch_size: int, workers: int) -> None:
    if not windows:
        raise ModelError("no row fits into a window of qa.max_seq_len tokens; raise it")
    if min(windows, batch_size) < workers:
        raise ModelError(
            f"a step of {min(windows, batch_size)} windows cannot be shared by {workers} workers; lower workers.number"
            + (" or raise training.batch_size" if windows >= workers else "")
        )
    # With unequal shares, the mean of the workers' mean losses is not the mean loss of the batch.
    if batch_size % workers:
        raise ModelError(
            f"training.batch_size ({batch_size}) is no multiple of the {workers} workers that share it; "
            f"set it to {batch_size // workers * workers}, or workers.number to what divides it"
        )


def _load_teacher(folder: Path, device: torch.device) -> PreTrainedModel:
    teacher = load_model(folder, with_qa_head=True)
    nn.Module.to(teacher, device=device)
    teacher.train(False)
    return teacher
