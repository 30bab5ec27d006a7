"""Planning, listing and resuming a job of very many shards, and of few beside it.

    python -m benchmarks.shards [--shards 100000] [--few 1000]

A JSONL corpus is cut into a read unit a shard, which is the most that a plan can hold; all shards but ten are there
already, as empty files with receipts, and the job is resumed.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
from rich.console import Console
from rich.table import Table

from actors.models.loading import load_spec
from benchmarks.corpus import write_model
from benchmarks.processes import run_watched
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.corpus.listing import list_files
from pipelines.job.job import Job, bind, plan_job
from pipelines.output.manifest import MANIFEST_NAME, read_manifest
from pipelines.output.manifest_extension import read_plan
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import ReceiptLog
from pipelines.output.row_counts import read_counts
from pipelines.output.sinks.folder import PartsFolder
from pipelines.planning.planner import make_plan
from pipelines.stages.pending_units import PendingUnit

_COMMAND = "from pipelines.cli.main import main; main()"
R = TypeVar("R")
_MISSING = 10
_ROWS = 4
"""Of a shard."""


class Clock:
    """Seconds by step, and how far the process's memory rose in them."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[float, float]] = {}

    def call(self, name: str, function: Callable[[], R]) -> R:
        """Times one call."""
        started, before = time.perf_counter(), _high_water_mb()
        result = function()
        self.steps[name] = time.perf_counter() - started, _high_water_mb() - before
        return result


def _high_water_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_lines(path: Path, rows: int) -> int:
    """A corpus of short rows that are all of one length; returns the bytes of a row."""
    line = orjson.dumps({"id": f"{0:09}", "question": "Who waits there?", "context": "Ada waits by the mill."}) + b"\n"
    with path.open("wb") as file:
        file.writelines(line.replace(f"{0:09}".encode(), f"{row:09}".encode()) for row in range(rows))
    return len(line)


def write_parts(job: Job) -> None:
    """All parts but the last ten, as empty files, and their receipts."""
    output, format = Path(job.store.root), job.config.output.format
    parts = PartsFolder(job.store, job.manifest.job8, format)
    ledger = ReceiptLog(parts)
    for unit in job.plan.units[:-_MISSING]:
        shard = ShardId(unit.index, 0, True)
        output.joinpath(parts.part_name(shard)).touch()
        ledger.add(Receipt(shard, job.plan.files[0].name, rows=_ROWS, answered=_ROWS))
    ledger.write()


def measure(folder: Path, model: Path, shards: int) -> dict[str, tuple[float, float]]:
    """Seconds and MB of every step for a job of this many shards."""
    folder.mkdir()
    row_bytes = write_lines(folder / "corpus.jsonl", shards * _ROWS)
    inputs, output = [str(folder / "corpus.jsonl")], str(folder / "out")
    words = [f"model.name={model}", 'model.backend="null"', f"corpus.unit_bytes={row_bytes * _ROWS}"]
    config, clock = load_config(AnswerConfig, None, words), Clock()

    files = clock.call("list the input", lambda: list_files(inputs, config.corpus))
    clock.call("make the plan", lambda: make_plan(files, config.corpus, "answer", None))
    job = clock.call("plan the job (both, and the model)", lambda: plan_job(inputs, output, config, limit=None))
    job = clock.call("bind it: write the manifest", lambda: bind(job, replace=False))
    manifest_mb = (folder / "out" / MANIFEST_NAME).stat().st_size / (1 << 20)
    write_parts(job)
    job = clock.call("bind it again: read the manifest", lambda: bind(job, replace=False))
    committed = clock.call("list the parts", job.committed)
    pending = clock.call("what is left", lambda: PendingUnit.left(job.plan, committed))
    if len(pending) != _MISSING:
        raise RuntimeError(f"{len(pending)} of {shards} shards are left, where {_MISSING} should be")
    manifest = clock.call("status: read the manifest", lambda: read_manifest(job.store))
    if manifest is None:
        raise RuntimeError(f"{output} has lost its manifest")
    clock.call("status: read the plan", lambda: read_plan(job.store, manifest))
    clock.call("status: count rows in the receipts", lambda: read_counts(job.parts, committed))

    command = [sys.executable, "-c", _COMMAND]
    keys = [word for key in ("ray.object_store_mb=512", *words) for word in ("--set", key)]
    lines = {"spanmill answer, resumed": ["answer", *inputs, output, *keys], "spanmill status": ["status", output]}
    for name, line in lines.items():
        started = time.perf_counter()
        usage = run_watched([*command, *line], every_seconds=0.2)
        clock.steps[name] = time.perf_counter() - started, usage.peak_mb
    return {**clock.steps, "the manifest itself": (0.0, manifest_mb)}


def main(
    shards: Annotated[int, typer.Option(min=100)] = 100_000, few: Annotated[int, typer.Option(min=100)] = 1_000
) -> None:
    """Prints seconds and memory of every step, for many shards and for few."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model", layers=1, dim=64)
        load_spec(folder / "model")
        measured = [measure(folder / str(size), folder / "model", size) for size in (few, shards)]
    table = Table("step", *(f"{size:,} shards: {unit}" for size in (few, shards) for unit in ("s", "MB")), box=None)
    for step in measured[0]:
        table.add_row(step, *(f"{number:,.2f}" for figures in measured for number in figures[step]))
    console.print(table)
    console.print(
        "MB: how far the step raised the process's peak; of the two commands, the peak of all their processes"
    )


if __name__ == "__main__":
    typer.run(main)
