"""Starts a load and reads what became of it."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.serving.load import Load

_RAMP = 0.1
"""Share of a load's time before the service has as much in hand as it will have."""
_REFUSED = 429


@dataclass(frozen=True)
class Outcomes:
    """Of all requests of a load."""

    load: Load
    table: pa.Table
    """A row per `Outcome`."""

    @property
    def answered(self) -> pa.Table:
        """Those with status 200."""
        return self.table.filter(pc.equal(self.table["status"], 200))

    @property
    def refused(self) -> pa.Table:
        """Those that were too many."""
        return self.table.filter(pc.equal(self.table["status"], _REFUSED))

    @property
    def failures(self) -> Counter[str]:
        """Those without an answer, by status and reason."""
        failed = self.table.filter(pc.not_equal(self.table["status"], 200))
        return Counter(f"{s} {r}" for s, r in zip(*(failed[n].to_pylist() for n in ("status", "reason")), strict=True))

    def goodput(self) -> float:
        """Answers per second while the load lasted, its first tenth left out."""
        seconds, answered = self.load.seconds, self.answered
        if not len(answered):
            return 0.0
        done = _numbers(answered, "at") + _numbers(answered, "ms") / 1000 - float(pc.min(self.table["at"]).as_py())
        return float(((done > _RAMP * seconds) & (done <= seconds)).sum()) / ((1 - _RAMP) * seconds)

    def ms(self, quantile: float, column: str = "ms") -> float:
        """Milliseconds of the requests that were answered."""
        return quantile_of(self.answered, quantile, column)


def quantile_of(outcomes: pa.Table, quantile: float, column: str = "ms") -> float:
    """Of a column of milliseconds; nan without a request."""
    return float(np.quantile(_numbers(outcomes, column), quantile)) if len(outcomes) else float("nan")


def run(load: Load) -> Outcomes:
    """A load from its beginning to its end."""
    with running(load) as wait:
        return wait()


class Wait:
    """What a load that runs will have brought."""

    def __init__(self, load: Load, process: subprocess.Popen[bytes], path: Path) -> None:
        self._load = load
        self._process = process
        self._path = path

    def __call__(self) -> Outcomes:
        """Waits for the end.

        Raises:
            CalledProcessError: the load itself failed.
        """
        if code := self._process.wait():
            raise subprocess.CalledProcessError(code, "benchmarks.serving.load")
        return Outcomes(self._load, pq.read_table(self._path))


@contextmanager
def running(load: Load) -> Iterator[Wait]:
    """A load beside whatever the block does."""
    with tempfile.TemporaryDirectory() as name:
        spec, path = Path(name, "load.json"), Path(name, "outcomes.parquet")
        spec.write_text(json.dumps(asdict(load)))
        words = [sys.executable, "-m", "benchmarks.serving.load", str(spec), str(path)]
        process = subprocess.Popen(words)
        try:
            yield Wait(load, process, path)
        finally:
            process.kill()
            process.wait()


def _numbers(outcomes: pa.Table, column: str) -> npt.NDArray[np.float64]:
    numbers: npt.NDArray[np.float64] = outcomes[column].to_numpy()
    return numbers
