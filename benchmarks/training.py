"""Steps of a training against a large sgemm on the same threads, in turns within one process.

python -m benchmarks.training [--rounds 6] [--base models/minilm-qa]
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import typer
from rich.console import Console

from actors.parameters import QAParameters
from actors.training.parameters import TrainingParameters
from actors.training.setup import Sources, TrainingSetup, WorkerRank, assemble
from benchmarks.corpus import write_corpus
from pipelines.bench.arithmetic import Shape
from pipelines.bench.workers.floor import sgemm_flops_per_second

_STEPS_A_ROUND = 4
_BACKWARD = 3
"""A step is a forward pass and two products as large for every one of it: for the inputs and for the weights."""


def main(
    rounds: Annotated[int, typer.Option(min=2)] = 6,
    base: Annotated[Path, typer.Option(help="Model folder.")] = Path("models/minilm-qa"),
    threads: Annotated[int, typer.Option(min=1)] = torch.get_num_threads(),
) -> None:
    """Prints rows/s, tokens/s and the share of the floor, medians and ranges over the rounds."""
    parameters = TrainingParameters(
        dropout=0.0, freeze_word_embeddings=True, epochs=rounds * _STEPS_A_ROUND * 16 / 1000 + 1, learning_rate=1e-6
    )
    with tempfile.TemporaryDirectory() as folder:
        setup = assemble(
            Sources(base, None, halved=False),
            QAParameters(),
            parameters,
            _examples(Path(folder) / "corpus.parquet"),
            WorkerRank(torch.device("cpu"), threads),
        )
    config = setup.student.config
    shares, rows, tokens = _measure(setup, Shape.of_config(config), rounds)
    console = Console()
    for name, values in (("share of the sgemm floor", shares), ("rows/s", rows), ("tokens/s", tokens)):
        console.print(f"{name}: {statistics.median(values):,.2f} ({min(values):,.2f} - {max(values):,.2f})")


def _measure(setup: TrainingSetup, shape: Shape, rounds: int) -> tuple[list[float], list[float], list[float]]:
    steps = setup.loop.steps(0)
    next(steps)
    shares, rows, tokens = [], [], []
    for _ in range(rounds):
        floor = sgemm_flops_per_second()
        began = time.perf_counter()
        taken = [next(steps) for _ in range(_STEPS_A_ROUND)]
        seconds = time.perf_counter() - began
        windows, length = sum(step.windows for step in taken), sum(step.tokens for step in taken)
        mean = np.full(windows, length / windows, dtype=np.int32)
        shares.append(_BACKWARD * shape.flops(mean) / seconds / floor)
        rows.append(windows / seconds)
        tokens.append(length / seconds)
    return shares, rows, tokens


def _examples(path: Path) -> pa.Table:
    """Made-up rows, whose answers are their passages' first words."""
    write_corpus(path, 1000)
    rows = pq.read_table(path)
    first = [context.split()[0] for context in rows["context"].to_pylist()]
    starts = [context.index(word) for context, word in zip(rows["context"].to_pylist(), first, strict=True)]
    answers = pa.array([[word] for word in first]), pa.array([[start] for start in starts], type=pa.list_(pa.int32()))
    return rows.append_column("answer_texts", answers[0]).append_column("answer_starts", answers[1])


if __name__ == "__main__":
    typer.run(main)
