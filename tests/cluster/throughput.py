"""`python -m tests.cluster.throughput`: rows a second of a job on two workers, against those on one."""

import sys
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.cluster.bench import WORKER_CPUS, Bench, bench
from tests.cluster.host import missing

RUNTIMES = {
    "torch, on the two cores that all hosts share": "torch",
    "a device of its own for each actor, which sleeps": "tests.cluster.sleeping_runtime:FAST",
}
_SHARDS = "corpus.shard_rows=8"


def rows_per_second(at: Bench, backend: str, actors: int) -> float:
    """Of a job with an actor on each worker, from when all of them have committed a shard to the last commit."""
    keys = ("ray.address=auto", f"pool.size={actors}", "pool.cpus=2", f"model.backend={backend}", _SHARDS)
    job = at.start_job(at.cluster.workers[0], keys=keys)
    job.wait()
    events = [(datetime.fromisoformat(event["time"]), event) for event in job.events("shard committed")]
    firsts: dict[str, datetime] = {}
    for moment, event in events:
        firsts.setdefault(event["node"], moment)
    assert len(firsts) == actors, f"only {', '.join(firsts)} had work"
    began, ended = max(firsts.values()), events[-1][0]
    rows: int = sum(event["input_rows"] for moment, event in events if moment > began)
    return rows / (ended - began).total_seconds()


def main(times: Annotated[int, typer.Option(min=1, help="How often each is measured; the best counts.")] = 1) -> None:
    """Measures jobs on one worker, lets another join, and measures again."""
    if obstacle := missing():
        sys.exit(obstacle)
    table = Table("model", "rows/s, one worker", "two workers", "ratio")
    with bench(workers=1) as at:
        one = {name: max(rows_per_second(at, backend, 1) for _ in range(times)) for name, backend in RUNTIMES.items()}
        at.cluster.add_worker(WORKER_CPUS)
        two = {name: max(rows_per_second(at, backend, 2) for _ in range(times)) for name, backend in RUNTIMES.items()}
    for name in RUNTIMES:
        table.add_row(name, f"{one[name]:.1f}", f"{two[name]:.1f}", f"{two[name] / one[name]:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
