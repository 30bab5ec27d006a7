"""Rows, tiny models and runs that take a fraction of a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from actors.parameters import QAParameters
from actors.training.loop import Step
from actors.training.parameters import TrainingParameters
from actors.training.setup import Sources, TrainingSetup, WorkerRank, assemble
from tests.actors.helpers import GOLDEN, read_lines

CPU = torch.device("cpu")
DISTILBERT, BERT = (GOLDEN / "models" / name for name in ("distilbert", "bert"))
QA = QAParameters(max_seq_len=64, doc_stride=24)


def table(rows: Sequence[tuple[str, str, str | None]]) -> pa.Table:
    """(question, passage, answer or None) as `assemble` takes them."""
    return pa.table(
        {
            "question": pa.array([question for question, _, _ in rows], pa.string()),
            "context": pa.array([context for _, context, _ in rows], pa.string()),
            "answer_texts": pa.array([[] if a is None else [a] for _, _, a in rows], pa.list_(pa.string())),
            "answer_starts": pa.array([[] if a is None else [c.index(a)] for _, c, a in rows], pa.list_(pa.int32())),
        }
    )


def golden_rows() -> list[tuple[str, str, str | None]]:
    """Questions about the golden passages, long ones among them; every fourth has no answer, the others two words."""
    rows: list[tuple[str, str, str | None]] = []
    for passage in read_lines(GOLDEN / "passages.jsonl"):
        words = passage["context"].split(" ")
        for question in passage["questions"]:
            place = 7 * len(rows) % max(len(words) - 1, 1)
            answer = " ".join(words[place : place + 2])
            rows.append((question, passage["context"], None if len(rows) % 4 == 3 or not answer.strip() else answer))
    return rows


def few_rows() -> pa.Table:
    """Those of them that are short."""
    return table([row for row in golden_rows() if len(row[1]) < 1500])


def parameters(**changes: Any) -> TrainingParameters:
    """Settings of a short run with dropout on."""
    usual = {"epochs": 1.0, "batch_size": 8, "learning_rate": 1e-3, "warmup_steps": 2}
    return TrainingParameters.model_validate(usual | changes)


def assembled(
    chosen: TrainingParameters,
    rows: pa.Table | None = None,
    *,
    base: Path = DISTILBERT,
    teacher: Path | None = None,
    halved: bool = False,
    rank: int = 0,
    workers: int = 1,
) -> TrainingSetup:
    """A run on the CPU."""
    place = WorkerRank(CPU, threads=1, rank=rank, workers=workers)
    rows = few_rows() if rows is None else rows
    return assemble(Sources(base, teacher, halved), QA, chosen, rows, place)


def take_steps(setup: TrainingSetup, first: int, stop: int | None = None) -> list[Step]:
    """The steps from `first` to before `stop`, as a run would take them that is cut off there."""
    steps = []
    for step in setup.loop.steps(first):
        steps.append(step)
        if step.number + 1 == stop:
            break
    return steps


def weights(setup: TrainingSetup) -> dict[str, torch.Tensor]:
    """Copies of all weights."""
    return {name: weight.detach().clone() for name, weight in setup.student.state_dict().items()}


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """The same names and values, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
