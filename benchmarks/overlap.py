"""How busy a device is kept that works beside its host, as a GPU does, where the host has as much to do for a pass.

The device is a thread that sleeps; unlike a GPU it needs Python's lock to wake up, so its rate is lower than the share
of the time in which it has work. The windows of a pass are as many as take the host the time that is asked for: arrays
are made of them, spans are found in their logits, and answers are read of these.

    python -m benchmarks.overlap [--milliseconds 5] [--passes 20]
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import typer
from rich.console import Console

from actors.arrays import Floats
from actors.backends.base import Backend, BatchLayout, PassOutput, SynchronousBackend
from actors.batch import Batch
from actors.engine.engine import Engine
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import prepare_pairs
from actors.tokenization.tokenized import Tokenized
from benchmarks.corpus import write_corpus, write_model
from benchmarks.thread_device import Event, ThreadDevice

QA = QAParameters()
_SHARDS = 6


class _Instant(SynchronousBackend):
    """Its logits are there before they are asked for."""

    device, layout, hidden_size, memory_limit = "cpu", BatchLayout.PADDED, 8, None

    def __init__(self, most_windows: int, width: int) -> None:
        self._logits = np.random.default_rng(0).normal(0, 3, (2, most_windows, width)).astype(np.float32)

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        start, end = self._logits[:, : batch.windows, : batch.width]
        return PassOutput(start, end, None, None)


def prepared_shard(folder: Path, rows: int) -> tuple[EncoderSpec, Tokenized]:
    """Questions and passages with lengths like SQuAD's, tokenised."""
    write_model(folder / "model", layers=1, dim=64)
    write_corpus(folder / "corpus.parquet", rows)
    spec, table = load_spec(folder / "model"), pq.read_table(folder / "corpus.parquet")
    return spec, prepare_pairs(spec, QA, table["question"].combine_chunks(), table["context"].combine_chunks())[0]


def answer_all(backend: Backend, spec: EncoderSpec, shard: Tokenized, windows: int, callers: int = 1) -> float:
    """Wall time of a pass where so many threads answer shards, each with passes of so many windows."""
    engine = Engine(backend, spec, BatchingParameters(fixed_windows=windows))
    engine.answer(shard, QA)
    if isinstance(backend, ThreadDevice):
        backend.events.clear()
    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        found = list(pool.map(lambda _: engine.answer(shard, QA), range(_SHARDS)))
    return (time.perf_counter() - started) / sum(results.stats.total.passes for results in found)


def share_with_work(events: list[Event]) -> float:
    """Share of the time from the first pass to the last in which the device has one."""
    at = {(event.what, event.number): event.at for event in events}
    numbers = sorted({event.number for event in events})
    idle = sum(max(at["submitted", after] - at["computed", before], 0) for before, after in pairwise(numbers))
    return 1 - idle / (at["computed", numbers[-1]] - at["begun", numbers[0]])


def windows_of(milliseconds: float, spec: EncoderSpec, shard: Tokenized) -> int:
    """Windows of a pass that takes the host so long."""
    windows = 16
    for _ in range(4):
        seconds = answer_all(_Instant(4096, 384), spec, shard, windows)
        windows = max(int(windows * min(milliseconds / 1000 / seconds, 4.0)), 1)
    return windows


def main(
    milliseconds: Annotated[float, typer.Option(help="Time of a pass: that of the host, and that of the device.")] = 5,
    passes: Annotated[int, typer.Option(help="Of each shard.")] = 20,
    rounds: int = 3,
) -> None:
    """Prints the share of the time in which the device has work, for one shard at a time and for two, as in a job."""
    console = Console(highlight=False, width=100)
    with tempfile.TemporaryDirectory() as folder:
        spec, shard = prepared_shard(Path(folder), 4000)
        windows = windows_of(milliseconds, spec, shard)
        shard = shard.of_owners(np.resize(np.arange(shard.owners, dtype=np.int32), windows * passes))
        for _ in range(rounds):
            host = answer_all(_Instant(4096, 384), spec, shard, windows)
            console.print(f"{windows} windows a pass: {host * 1000:.1f} ms of the host, and as much of the device")
            for callers in (1, 2):
                device = ThreadDevice(_Instant(4096, 384), partial(time.sleep, host))
                wall = answer_all(device, spec, shard, windows, callers)
                console.print(
                    f"  shards at a time: {callers}; the device has work for {share_with_work(device.events):.0%} of "
                    f"the time; its rate {host / wall:.0%} of what it would be without a host"
                )


if __name__ == "__main__":
    typer.run(main)
