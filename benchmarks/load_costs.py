"""What each runtime costs to convert, load and hold: a first load and a later one, each in a process of its own.

    python -m benchmarks.load_costs [models/minilm-qa] [--base]

Every process has one thread and an empty cache for converted models, but for the later load, which finds the first
one's. Seconds are CPU time, so that other work on the machine matters little.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.table import Table

from pipelines.bench.workers.random_model import main as write_base_shape

RUNTIMES = (
    ("torch", "float32"),
    ("ctranslate2", "float32"),
    ("ctranslate2", "int8"),
    ("openvino", "float32"),
    ("onnxruntime", "float32"),
    ("onnxruntime", "int8"),
)


@dataclass(frozen=True)
class LoadCost:
    """Of one process that loads a model and does nothing else."""

    cpu_seconds: float
    """Of the process and of those it started."""
    held_mb: float
    """Resident memory once the model is loaded."""
    most_mb: float
    """The most that was resident at any moment."""
    before_mb: float
    """Resident memory before."""

    @classmethod
    def measure(cls, folder: Path, runtime: str, dtype: str) -> Self:
        """Loads the model in this process."""
        from actors.backends.base import find_runtime
        from actors.parameters import ModelParameters

        before, started = _resident_mb(), time.process_time()
        parameters = ModelParameters(name=str(folder), threads=1, device="cpu").in_type(dtype)
        backend = find_runtime(runtime).load(folder, parameters, True)
        held, children = _resident_mb(), resource.getrusage(resource.RUSAGE_CHILDREN)
        assert backend.hidden_size > 0  # and so it is held until here
        return cls(
            time.process_time() - started + children.ru_utime + children.ru_stime,
            held,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            before,
        )

    @classmethod
    def in_a_process(cls, folder: Path, runtime: str, dtype: str, cache: str) -> Self:
        """The same in a process of its own, whose user's cache is `cache`."""
        environment = os.environ | {"XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1"}
        call = (sys.executable, "-m", "benchmarks.load_costs", str(folder), "--only", f"{runtime}:{dtype}")
        done = subprocess.run(call, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return cls(**json.loads(done.stdout.splitlines()[-1]))


def main(
    model: Annotated[Path, typer.Argument(help="Folder of a model with a QA head.")] = Path("models/minilm-qa"),
    base: Annotated[
        bool, typer.Option("--base", help="Random weights of DistilBERT-base's shape in its place.")
    ] = False,
    only: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Prints a table."""
    if only:
        print(json.dumps(asdict(LoadCost.measure(model, *only.split(":")))))
        return
    table = Table(
        "runtime", "first load, CPU s", "its most, MB", "later, CPU s", "memory, MB", "before, MB", "disk, MB"
    )
    with tempfile.TemporaryDirectory() as name:
        if base:
            write_base_shape(str(model), f"{name}/base")
            model = Path(name) / "base"
        for runtime, dtype in RUNTIMES:
            table.add_row(f"{runtime}, {dtype}", *_cells(model.resolve(), runtime, dtype))
    Console(width=120).print(table)


def _cells(model: Path, runtime: str, dtype: str) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory() as cache:
        first, later = (LoadCost.in_a_process(model, runtime, dtype, cache) for _ in range(2))
        disk = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file()) / 1e6
    return (
        f"{first.cpu_seconds:.1f}",
        f"{first.most_mb:,.0f}",
        f"{later.cpu_seconds:.2f}",
        f"{later.held_mb:,.0f}",
        f"{later.before_mb:.0f}",
        f"{disk:,.0f}",
    )


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    typer.run(main)
