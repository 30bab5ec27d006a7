"""What the plots show, measured with the engine on torch, behind the rounds."""

import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from pipelines.bench.figures import BatchPoint, Curves, PassPoint, ScalePoint
from pipelines.bench.peers import Setting
from pipelines.bench.rounds import Say
from pipelines.bench.rows import Slice
from pipelines.bench.worker import WORKERS, Interpreter, Worker, working

_SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Windows of a pass."""
_TURNS = 3
_LEARNT = Setting("", {})


def measure(
    reference: Worker,
    interpreter: Interpreter,
    setup: Mapping[str, object],
    rows: Slice,
    folder: Path,
    cores: int,
    say: Say,
) -> Curves:
    """All curves.

    Args:
        reference: the engine.
        interpreter, setup: what it was started with.
        rows: which all points are measured on.
        folder: for files.
        cores: that may be used.

    Raises:
        PeerFailed: an engine failed.
    """
    say("passes of fixed sizes, and of the batcher's choice")
    sizes = [size for size in _SIZES if size <= rows.rows]
    # In turns, so that a machine that slows down does not bend the curve.
    turns = [reference.ask("at_sizes", rows=rows.columns, windows=sizes) for _ in range(_TURNS)]
    chosen = [reference.ask("at_its_choice", rows=rows.columns) for _ in range(_TURNS)]
    by_batch = tuple(
        BatchPoint(size, rows.rows / statistics.median(turn[place] for turn in turns))
        for place, size in enumerate(sizes)
    )
    its_choice = BatchPoint(
        statistics.median(one["windows"] for one in chosen),
        rows.rows / statistics.median(one["seconds"] for one in chosen),
    )
    say("what passes take, and what was predicted")
    passes = tuple(PassPoint(**one) for one in reference.ask("passes", rows=rows.columns))
    by_actors = tuple(_scale(interpreter, setup, rows, folder, cores, say)) if setup["device"] == "cpu" else ()
    return Curves(by_batch, its_choice, by_actors, passes)


def _scale(
    interpreter: Interpreter, setup: Mapping[str, object], rows: Slice, folder: Path, cores: int, say: Say
) -> Iterator[ScalePoint]:
    for threads in _doublings(cores):
        with ExitStack() as stack:
            workers = list[Worker]()
            for actors in _doublings(cores // threads):
                say(f"{actors} engines of {threads} threads at the same time")
                while len(workers) < actors:
                    worker = stack.enter_context(
                        working(interpreter, WORKERS / "engine.py", {**setup, "threads": threads})
                    )
                    workers.append(worker)
                seconds = statistics.median(_together(workers, rows, folder, str(setup["task"])) for _ in range(_TURNS))
                yield ScalePoint(actors, threads, rows.rows / seconds)


def _doublings(most: int) -> list[int]:
    """1, 2, 4 ... and the most itself."""
    numbers = [1 << power for power in range(most.bit_length()) if 1 << power <= most]
    return numbers if numbers[-1] == most else [*numbers, most]


def _together(workers: list[Worker], rows: Slice, folder: Path, task: str) -> float:
    """Seconds until all have done their shares of the rows, begun at the same moment."""
    parts = [rows.part(number, len(workers), folder) for number in range(len(workers))]

    def run(number: int) -> None:
        vectors = {} if task == "answer" else {"vectors": str(folder / f"vectors-{number}.npy")}
        workers[number].ask(task, rows=str(parts[number].path), setting={}, **vectors)

    with ThreadPoolExecutor(len(workers)) as pool:
        started = time.perf_counter()
        try:
            list(pool.map(run, range(len(workers))))
        except BaseException:
            # Else the pool would wait for those that still compute.
            for worker in workers:
                worker.process.terminate()
            raise
        return time.perf_counter() - started
