"""The bare engine against a large sgemm and against naive batches, and the whole job against the bare engine.

Everything runs in turns, round after round in one process, and medians over the rounds are compared: these figures
are ratios, and hold on a noisy machine.

    python -m benchmarks.offline [--rounds 5] [--rows 160] [--layers 6] [--dim 768]
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import torch
import typer
from rich.console import Console

from actors.backends.base import PassRequest
from actors.backends.padded_pass import PaddedPass
from actors.backends.prepared_pass import run
from actors.backends.torch_backend import TorchBackend
from actors.backends.torch_weights import load_model
from actors.engine.collate import collate
from actors.engine.engine import Engine
from actors.engine.pass_stats import PassStats
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, ModelParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_pairs
from actors.tokenization.tokenized import Tokenized
from benchmarks.corpus import Shape, write_corpus, write_model
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.execution.ray_pipeline import build, receipts
from pipelines.execution.stage_factory import make_stages
from pipelines.job.job import bind, plan_job
from pipelines.job.pool_size import plan_pool
from pipelines.job.ray_cluster import cluster_size, connected
from pipelines.stages.pending_units import PendingUnit

QA = QAParameters()


def sgemm_flops_per_second() -> float:
    """The speed of a large float32 matrix product on the threads that torch uses."""
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    started, products = time.perf_counter(), 0
    while time.perf_counter() - started < 0.5:
        torch.mm(left, right)
        products += 1
    return products * 2 * 2048**3 / (time.perf_counter() - started)


@torch.inference_mode()
def naive_seconds(padded: PaddedPass, spec: EncoderSpec, prepared: Tokenized, windows: int) -> float:
    """Fixed batches in random order, padded to their longest window, through the transformers model."""
    order = np.random.default_rng(1).permutation(len(prepared.windows))
    started = time.perf_counter()
    for i in range(0, len(order), windows):
        batch = collate(prepared, spec.pair, order[i : i + windows], spec.pad_id, spec.uses_type_ids)
        run(padded, PassRequest(batch, want_spans=True), torch.device("cpu"))
    return time.perf_counter() - started


def job_tokens_per_second(corpus: Path, output: Path, words: Sequence[str]) -> tuple[float, PassStats]:
    """Tokens per second (padding left out) of a whole job between its second commit and its last.

    Two shards are in an actor's hands at once, so at the second commit two shards' work is done.

    Args:
        words: settings of the job, as `--set` takes them.
    """
    config = load_config(AnswerConfig, None, list(words))
    job = bind(plan_job([str(corpus)], str(output), config, limit=None), replace=True)
    pool = plan_pool(config.pool, config.model.threads, *cluster_size())
    times, tokens, stats = [], [], PassStats()
    for receipt in receipts(build(make_stages(job, pool), PendingUnit.left(job.plan, job.committed()))):
        times.append(time.perf_counter())
        tokens.append(receipt.stats.total.tokens)
        stats.add(receipt.stats)
    return sum(tokens[2:]) / (times[-1] - times[1]), stats


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    rows: Annotated[int, typer.Option(help="Rows of the engine's part of a round.")] = 160,
    job_rows: Annotated[int, typer.Option(help="Rows of the job's part of a round.")] = 768,
    layers: int = 6,
    dim: int = 768,
    threads: Annotated[int, typer.Option(help="0 takes torch's default.")] = 0,
) -> None:
    """Prints medians over the rounds."""
    console = Console(highlight=False)
    torch.set_num_threads(threads or torch.get_num_threads())
    with tempfile.TemporaryDirectory() as name, connected(AnswerConfig().ray):
        folder = Path(name)
        write_model(folder / "model", layers, dim)
        write_corpus(folder / "small.parquet", rows)
        write_corpus(folder / "large.parquet", job_rows)
        spec = load_spec(folder / "model")
        backend = TorchBackend(load_model(folder / "model", with_qa_head=True), ModelParameters())
        padded = PaddedPass(load_model(folder / "model", with_qa_head=True))
        engine = Engine(backend, spec, BatchingParameters())
        table = pq.read_table(folder / "small.parquet")
        prepared, _ = prepare_pairs(spec, QA, table["question"].combine_chunks(), table["context"].combine_chunks())
        lengths = prepared.lengths(spec.pair.specials)
        flops = Shape(layers, dim).flops(lengths)
        console.print(
            f"{torch.get_num_threads()} threads; {len(lengths)} windows, {lengths.mean():.0f} tokens on average"
        )

        learning = engine.answer(prepared, QA).stats
        console.print(f"learning: {learning.total.passes} passes, {_sizes(learning)}")
        figures: dict[str, list[float]] = {}
        last = job_stats = PassStats()
        for _ in range(rounds):
            floor = flops / sgemm_flops_per_second()
            started = time.perf_counter()
            last = engine.answer(prepared, QA).stats
            bare = time.perf_counter() - started
            one, many = (naive_seconds(padded, spec, prepared, n) for n in (1, 32))
            words = (
                f"model.name={folder / 'model'}",
                f"model.threads={torch.get_num_threads()}",
                "corpus.shard_rows=128",
            )
            job_rate, job_stats = job_tokens_per_second(folder / "large.parquet", folder / "out", words)
            measured = {
                "engine / sgemm floor": floor / bare,
                "batches of 1 / floor": floor / one,
                "batches of 32, random order / floor": floor / many,
                "engine / batches of 1": one / bare,
                "engine / batches of 32": many / bare,
                "job, steady state / engine": job_rate * bare / last.total.tokens,
                "engine rows/s": rows / bare,
                "engine tokens/s": last.total.tokens / bare,
                "job tokens/s": job_rate,
                "padding": last.total.padding,
                "padding in the job": job_stats.total.padding,
            }
            for key, value in measured.items():
                figures.setdefault(key, []).append(value)
            console.print("  ".join(f"{key} {value:.3f}" for key, value in measured.items()), style="dim")
        for key, values in figures.items():
            console.print(f"{key:40} {statistics.median(values):8.3f}   ({min(values):.3f} - {max(values):.3f})")
        console.print(f"engine chose {_sizes(last)}\njob chose    {_sizes(job_stats)}")


def _sizes(stats: PassStats) -> str:
    return "windows a pass, by length: " + " ".join(f"{b}:{n:.1f}" for b, n in stats.batch_sizes().items())


if __name__ == "__main__":
    typer.run(main)
