"""The whole job without a model, against the tokenizer alone on question-passage pairs; and its memory as it grows.

    python -m benchmarks.size [--rows 1000000] [--small-rows 100000]

Five questions to a passage, Parquet in, Parquet out, `model.backend: "null"`. Pairs are encoded on all cores before
and after the jobs, and rows per second compared.
"""

import cProfile
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console

from actors.backends.null import NullBackend
from actors.engine.engine import Engine
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_pairs, qa_window_size
from actors.tokenization.tokenized import Tokenized
from benchmarks.corpus import write_model, write_questions
from benchmarks.processes import Usage, run_watched

QA = QAParameters()
_COMMAND = "from pipelines.cli.main import main; main()"
_FUNCTIONS = 12
_EARLY = 8
"""Commits before the steady state: everything that is to run runs, and is fed, by then."""


@dataclass(frozen=True)
class Run:
    """One job, as its parts tell of it."""

    rows: int
    started: float
    stopped: float
    rate: float
    """Rows per second between an early commit and the last."""
    usage: Usage


def run_job(corpus: Path, output: Path, model: Path, store_mb: int, words: list[str]) -> Run:
    """`spanmill answer` in a process of its own."""
    command = [sys.executable, "-c", _COMMAND, "answer", str(corpus), str(output), "--model", str(model)]
    keys = ['model.backend="null"', f"ray.object_store_mb={store_mb}", *words]
    usage = run_watched([*command, *(word for key in keys for word in ("--set", key))], every_seconds=0.5)
    parts = sorted((path.stat().st_mtime, path) for path in output.glob("part-*.parquet"))
    rows = [pq.read_metadata(path).num_rows for _, path in parts]
    early = min(_EARLY, len(parts) // 4)
    started, stopped = parts[early][0], parts[-1][0]
    return Run(sum(rows), started, stopped, sum(rows[early + 1 :]) / (stopped - started), usage)


def pair_rows_per_second(spec: EncoderSpec, pairs: list[tuple[str, str]]) -> float:
    """`encode_batch` of every row with its passage, cut into the same windows, on all cores."""
    tokenizer, size = spec.tokenizer(), qa_window_size(spec, QA)
    tokenizer.enable_truncation(size.max_seq_len, stride=size.doc_stride, strategy="only_second")
    try:
        started = time.perf_counter()
        tokenizer.encode_batch(pairs)
        return len(pairs) / (time.perf_counter() - started)
    finally:
        tokenizer.no_truncation()


def profiled(spec: EncoderSpec, rows: pa.Table) -> dict[str, float]:
    """Microseconds a row of what the actors do with a shard, in this process: all of it, and function by function."""
    engine = Engine(NullBackend(768), spec, BatchingParameters())
    texts = [rows[name].combine_chunks() for name in ("question", "context")]
    with cProfile.Profile() as profile:
        prepared, _ = prepare_pairs(spec, QA, *texts)
        engine.answer(Tokenized.from_ipc(prepared.to_ipc()), QA)
    entries = pstats.Stats(profile).get_stats_profile()
    own = {name.strip("<>{}"): function.tottime for name, function in entries.func_profiles.items()}
    named = {"all": entries.total_tt, **dict(Counter(own).most_common(_FUNCTIONS))}
    return {name: seconds * 1e6 / len(rows) for name, seconds in named.items()}


def main(
    rows: Annotated[int, typer.Option(min=20_000)] = 1_000_000,
    small_rows: Annotated[int, typer.Option(help="0 leaves the small job out.", min=0)] = 100_000,
    pair_rows: Annotated[int, typer.Option(help="Rows of every round of pair encoding.")] = 40_000,
    store_mb: Annotated[int, typer.Option(help="ray.object_store_mb of the jobs.")] = 512,
    words: Annotated[list[str] | None, typer.Option("--set", help="Further keys of the jobs.")] = None,
) -> None:
    """Prints rows per second side by side, where the time goes, and peak memory."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model", layers=1, dim=64)
        spec = load_spec(folder / "model")
        sizes = [size for size in (small_rows, rows) if size]
        for size in sizes:
            write_questions(folder / f"{size}.parquet", size)
        sample = pq.ParquetFile(folder / f"{rows}.parquet").iter_batches(min(pair_rows, rows))
        table = pa.Table.from_batches([next(sample)])
        pairs = list(zip(table["question"].to_pylist(), table["context"].to_pylist(), strict=True))

        pair_rates = [pair_rows_per_second(spec, pairs) for _ in range(3)]
        runs = {}
        for size in sizes:
            runs[size] = run_job(
                folder / f"{size}.parquet", folder / f"out-{size}", folder / "model", store_mb, words or []
            )
            pair_rates += [pair_rows_per_second(spec, pairs) for _ in range(3)]
        os.environ["RAYON_NUM_THREADS"] = "1"
        functions = profiled(spec, table.slice(0, 4096))

    pair_rate = statistics.median(pair_rates)
    console.print(f"pair encoding alone {pair_rate:12,.0f} rows/s   ({min(pair_rates):,.0f} - {max(pair_rates):,.0f})")
    for size, run in runs.items():
        console.print(f"job of {size:>11,} {run.rate:13,.0f} rows/s   {run.rate / pair_rate:.2f} x pair encoding")
    run = runs[rows]
    seconds = run.stopped - run.started
    console.print(f"\nCPU of the processes, microseconds a row, in the {seconds:.0f} s of the steady state")
    spent = run.usage.cpu_seconds(run.started, run.stopped)
    for kind, cpu in spent.most_common(8):
        console.print(f"  {kind:40} {cpu * 1e6 / (run.rate * seconds):8.1f}")
    console.print(f"  {'all':40} {sum(spent.values()) * 1e6 / (run.rate * seconds):8.1f}")
    console.print("\nmicroseconds a row in one process, for a shard of 4096 rows, by function without what it calls")
    for function, microseconds in functions.items():
        console.print(f"  {function[:60]:60} {microseconds:8.1f}")
    console.print("\npeak memory of all processes, MB, shared pages once")
    for size, run in runs.items():
        kinds = ", ".join(f"{kind} {mb:,.0f}" for kind, mb in run.usage.peak_by_kind.most_common(6))
        console.print(f"  {size:>11,} rows {run.usage.peak_mb:10,.0f}   ({kinds})")
    if len(runs) == 2:
        console.print(f"  growth {runs[rows].usage.peak_mb - runs[small_rows].usage.peak_mb:,.0f}")


if __name__ == "__main__":
    typer.run(main)
