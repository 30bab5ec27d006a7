"""`spanmill answer` in a process of its own: a corpus as long as it takes, and its rows per second."""

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.serving.load import read_sample
from benchmarks.serving.service import SPANMILL

_SHARD_ROWS = 64
_WARM_COMMITS = 4
"""After which every part of the pipeline has something in hand."""
_START_SECONDS, _STOP_SECONDS = 240.0, 120.0


@dataclass(frozen=True)
class Job:
    """A job that runs."""

    process: subprocess.Popen[bytes]
    output: Path
    log: Path

    def commits(self) -> list[tuple[float, int]]:
        """Unix time and rows of every part, in order."""
        times = sorted((path.stat().st_mtime, path) for path in self.output.glob("part-*.parquet"))
        return [(moment, pq.read_metadata(path).num_rows) for moment, path in times]

    def wait_warm(self) -> None:
        """Waits for the steady state.

        Raises:
            RuntimeError: the job ended before, or hangs.
        """
        deadline = time.monotonic() + _START_SECONDS
        while len(list(self.output.glob("part-*.parquet"))) < _WARM_COMMITS:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the job does not work: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

    def rate(self, start: float, stop: float) -> float:
        """Rows per second between two moments: the slope of the rows committed, since parts come in bursts."""
        within = [(moment, rows) for moment, rows in self.commits() if start <= moment <= stop]
        if len(within) < 2:
            return float("nan")
        moments, rows = np.array(within).T
        return float(np.polyfit(moments - start, np.cumsum(rows), 1)[0])

    def end(self) -> int:
        """Waits for the end of the job; its exit code."""
        return self.process.wait()


@contextmanager
def answering(corpus: Path, output: Path, words: Sequence[str]) -> Iterator[Job]:
    """A job beside whatever the block does; afterwards it is interrupted where it still runs.

    Args:
        words: KEY=VALUE of its config.
    """
    keys = [f"corpus.shard_rows={_SHARD_ROWS}", "ray.object_store_mb=512", *words]
    command = [SPANMILL, "answer", str(corpus), str(output), *(word for key in keys for word in ("--set", key))]
    log = output.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        yield Job(process, output, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


SHARED = ("pool.kind=serve",)
"""Keys of a job that runs on the replicas of the service that was started last on this machine."""


def write_corpus(path: Path, rows: int) -> None:
    """The sample corpus again and again; ids end in #0, #1, ..."""
    sample = read_sample()
    with path.open("wb") as file:
        for row in range(rows):
            one = sample[row % len(sample)]
            file.write(orjson.dumps(one | {"id": f"{one['id']}#{row // len(sample)}"}) + b"\n")


def read_answers(output: Path) -> pa.Table:
    """All rows of a job, by id."""
    return pq.read_table(sorted(output.glob("part-*.parquet"))).sort_by("id")
