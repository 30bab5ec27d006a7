"""The engine and the whole job side by side with their floor and with what others would use, within one run.

    python -m benchmarks.offline [--model shipped|base] [--rows 300] [--rounds 3] [--peers-python PYTHON]

Question and passage pairs with lengths like SQuAD's, float32, on a CPU. A round takes rows that no other has, and all
who are compared take turns at them, each with its model loaded and all threads; a first round of a few rows, which is
not counted, has warmed them up. Ratios are taken within a round; medians and ranges over the rounds are printed. What
is counted:

* The floor: the time that the multiply-adds of all windows, padding left out, would take at the speed of a large sgemm
  (2048³) as torch multiplies matrices, which is measured four times in the round on the same threads; its median
  counts. The fastest product is the same with weights laid out for the CPU beforehand, which the engine takes where it
  is faster (`actors/backends/pytorch/cpu_linear.py`), so that shares of the floor can be above 1.
* The engine, in a process without Ray, which has learnt nothing yet ("fresh": a short job, learning included) and then
  with the same rows once more ("again"). Texts to answers is everything; tokens to answers leaves tokenising out; in
  the passes is what the device took. "Fast" is `model.precision: fast`, with the same rows twice, of which the second
  counts; it is left out where the CPU has nothing faster than float32.
* A loop by hand over the same packed forward: eight windows a pass, shortest first, from tokens to logits. Padded
  batches in random order through the transformers module, likewise from tokens to logits.
* The job: Parquet to Parquet by the executor of `spanmill answer`, one actor with all threads, in a Ray cluster that is
  up already. All rows count, from the moment that the model began with its first shard (it is loaded then, and the
  shard tokenised) to the last commit. From its second commit on: its steady state, tokens against tokens, where there
  are four shards or more; --large-rows has a larger job in every round for that. The cluster stays up while others are
  timed; idle it takes about a fortieth of a core.
* Plain Ray Data: `map_batches` of 32 rows with a class that holds the transformers model, padded and cut to the same
  384 tokens, argmax of start and end; from the beginning of its first batch to the last file. The model is loaded then.
* With --peers-python, transformers 4.57.6's QuestionAnsweringPipeline with 1, 8 and 32 windows a batch, from texts to
  answers with the same parameters, the best of the three in each round; and, where that environment has it,
  sentence-transformers' `encode`, 32 texts a batch, beside the engine's `embed`, both from texts of mixed length to
  vectors of length 1.
"""

import dataclasses
import json
import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from actors.models.hub import find_model
from actors.parameters import ModelParameters
from benchmarks.corpus import write_corpus, write_model
from benchmarks.offline.rounds import Contenders, Round, contenders, write_slices
from benchmarks.offline.tables import Goals, rates, ratios, show_all
from pipelines.cli.native_stderr import without_ray_lines
from pipelines.config.job import AnswerConfig
from pipelines.job.ray_cluster import connected

_WARM_ROWS = 8
_WIDTH = 100


class Model(StrEnum):
    """What is measured."""

    SHIPPED = "shipped"
    """The model that ships: six layers of 384."""
    BASE = "base"
    """Random weights of DistilBERT-base's shape: six layers of 768."""

    @property
    def goals(self) -> Goals:
        """What it should reach."""
        if self is Model.BASE:
            return Goals(passes=0.92, best=1.25, padded=2.1)
        return Goals(passes=0.85, best=1.2, padded=None)

    def make(self, folder: Path) -> Path:
        """Its folder, which is written in `folder` where it does not ship."""
        if self is Model.SHIPPED:
            return find_model(ModelParameters())
        write_model(folder / "model")
        return folder / "model"


def main(
    model: Annotated[Model, typer.Option(help="Which model.")] = Model.SHIPPED,
    rows: Annotated[int, typer.Option(help="Rows of a round, and texts to embed.", min=8)] = 300,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    peers_python: Annotated[
        Path | None, typer.Option(help="Python with torch, pyarrow, transformers 4.57.6, sentence-transformers.")
    ] = None,
    large_rows: Annotated[int, typer.Option(help="Rows of a larger job in every round; 0: none.", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="Of each; 0 takes all cores.", min=0)] = 0,
    output: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Prints every round, then medians and ranges."""
    console = Console(highlight=False, width=_WIDTH)
    threads = threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name, without_ray_lines(), connected(AnswerConfig().ray):
        folder = Path(name)
        large = folder / "large.parquet" if large_rows else None
        if large is not None:
            write_corpus(large, large_rows)
        with contenders(model.make(folder), threads, peers_python, large) as all_of_them:
            described = _described(model, all_of_them)
            console.print("; ".join(f"{key}: {value}" for key, value in described.items()))
            measured = _measure(all_of_them, folder, rows, rounds, console)
    console.print()
    show_all(measured, model.goals, console)
    if output is not None:
        output.write_text(json.dumps(described | _figures(measured, model.goals), indent=1))


def _measure(all_of_them: Contenders, folder: Path, rows: int, rounds: int, console: Console) -> list[Round]:
    (folder / "warm").mkdir()
    (warm,) = write_slices(folder / "warm", _WARM_ROWS, 1)
    dataclasses.replace(all_of_them, large=None).measure(warm)
    measured = []
    for number, given in enumerate(write_slices(folder, rows, rounds), 1):
        one = all_of_them.measure(given)
        measured.append(one)
        _show_round(number, one, console)
    return measured


def _show_round(number: int, one: Round, console: Console) -> None:
    sizes = " ".join(f"{length}:{windows:.1f}" for length, windows in one.batches.items())
    speeds = ", ".join(f"{name} {one.rows / seconds:.1f}" for name, seconds in one.seconds.items())
    texts = ", ".join(f"{name} {one.rows / seconds:.1f}" for name, seconds in one.embedding.items())
    console.print(
        f"round {number}: {one.windows} windows of {one.tokens / one.windows:.0f} tokens, {one.shards} shards; sgemm "
        f"{' '.join(f'{rate / 1e9:.0f}' for rate in one.sgemm)} GFLOP/s; windows a pass, by length: {sizes}; rows/s: "
        f"{speeds}; texts/s: {texts}",
        style="dim",
    )


def _described(model: Model, all_of_them: Contenders) -> dict[str, object]:
    ours, peers = all_of_them.engine.versions, all_of_them.peers
    described: dict[str, object] = {"model": str(model), "threads": all_of_them.threads, **ours}
    return described if peers is None else described | {f"peers' {name}": v for name, v in peers.versions.items()}


def _figures(measured: list[Round], goals: Goals) -> dict[str, object]:
    return {
        "rounds": [dataclasses.asdict(one) | {"floor": one.floor} for one in measured],
        "rates": [dataclasses.asdict(rate) for rate in rates(measured)],
        "ratios": [dataclasses.asdict(figure) for figure in ratios(measured, goals).all()],
    }


if __name__ == "__main__":
    typer.run(main)
