"""`python -m tests.cluster.faults`: what happens to jobs, requests and the service where hosts fail, and for how long.

Each fault comes while a job shares the service's replicas, another has a pool of its own, and requests come in.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.cluster.bench import WORKER_CPUS, Bench, Job, bench
from tests.cluster.host import missing
from tests.cluster.load import asking

CUT_SECONDS = 30.0
AWAY_SECONDS = 30.0
"""Until a worker that was killed is there again; its address is silent until then, as where the power is cut."""
_BEFORE = 1
"""Shards that the job with a pool of its own has committed when the fault comes."""
_PER_SECOND = 2.0
_RECOVERY_SECONDS = 600.0


@dataclass(frozen=True)
class Fault:
    """What is done to the cluster; its first worker is what fails, and the drivers are on the second."""

    what: str
    strike: Callable[[Bench], None]
    """Returns once whatever is to come back, by hand or by a supervisor, was started again."""


@dataclass
class Verdict:
    """What became of the jobs and the requests of one fault."""

    rows_equal: bool
    requests: int
    failed: int
    failed_beyond: list[str] = field(default_factory=list)
    """Errors of requests that were not in flight when it happened."""
    slowest: float = 0.0
    """Seconds of the longest request that was answered."""
    recovered: float = 0.0
    """Seconds from the fault until all replicas ran and both jobs had committed a further shard."""


def _worker_killed(at: Bench) -> None:
    worker = at.cluster.workers[0]
    worker.kill()
    time.sleep(AWAY_SECONDS)
    worker.boot()
    at.cluster.start_worker(worker, WORKER_CPUS)


def _worker_cut(at: Bench) -> None:
    worker = at.cluster.workers[0]
    worker.cut()
    time.sleep(CUT_SECONDS)
    worker.restore()


def _head_killed(at: Bench) -> None:
    at.cluster.head.kill()
    at.cluster.head.boot()
    at.cluster.start_head()


FAULTS = {
    "worker": Fault(f"a worker is killed, and joins again after {AWAY_SECONDS:g} s", _worker_killed),
    "cut": Fault(f"the network of a worker is cut for {CUT_SECONDS:g} s", _worker_cut),
    "head": Fault("the head is killed, and started again", _head_killed),
}


def strike(at: Bench, fault: Fault) -> Verdict:
    """Has a fault come during two jobs and requests, and waits for the end of both jobs."""
    driver = at.cluster.workers[1]
    at.wait_for_replicas()
    # One after the other, so that neither is done when the other one begins.
    jobs = [at.start_job(driver, "--pool", "serve", keys=("ray.address=auto",))]
    jobs[0].wait_for(1)
    jobs.append(at.start_job(driver, keys=("ray.address=auto", "pool.size=2", "pool.cpus=0.5")))
    with asking([at.url(host) for host in at.cluster.workers], at.cluster.token, _PER_SECOND) as load:
        jobs[1].wait_for(_BEFORE)
        assert all(job.is_running for job in jobs), "a job was done before the fault came; give it more rows"
        committed = [job.committed() for job in jobs]
        began = time.monotonic()
        fault.strike(at)
        recovered = _recovery(at, jobs, committed) - began
        for job in jobs:
            job.wait()
        at.wait_for_replicas()
    beyond = [f"{one.began - began:+.1f} s: {one.error}" for one in load.failed_beyond(began)]
    equal = all(at.rows_equal(job.output) for job in jobs)
    return Verdict(equal, len(load.done), len(load.failed()), beyond, load.slowest(), recovered)


def _recovery(at: Bench, jobs: list[Job], committed: list[int]) -> float:
    """When, by `time.monotonic`, all replicas run and every job has got on."""
    deadline = time.monotonic() + _RECOVERY_SECONDS
    while any(job.is_running and job.committed() == before for job, before in zip(jobs, committed, strict=True)):
        assert time.monotonic() < deadline, [job.command.said() for job in jobs]
        time.sleep(0.3)
    at.wait_for_replicas()
    return time.monotonic()


def main(
    times: Annotated[int, typer.Option(min=1, help="How often each fault comes.")] = 1,
    kinds: Annotated[str, typer.Option(help="Which, with commas between.")] = ",".join(FAULTS),
) -> None:
    """Has every fault come so many times, and prints a table of what came of it; exit code 1 where rows differ."""
    if obstacle := missing():
        sys.exit(obstacle)
    console = Console(width=140)
    table, good = Table(*("fault", "times", "rows equal", "requests", "failed", "of these, not in flight then")), True
    for name in ("slowest answer, s", "recovered after, s"):
        table.add_column(name, justify="right")
    with bench() as at:
        at.start_service(at.cluster.head)
        for kind in kinds.split(","):
            verdicts = []
            for _ in range(times):
                verdicts.append(verdict := strike(at, FAULTS[kind]))
                console.print(kind, verdict, *verdict.failed_beyond[:5], sep="\n")
                good &= verdict.rows_equal and not verdict.failed_beyond
            table.add_row(
                FAULTS[kind].what,
                str(times),
                str(sum(verdict.rows_equal for verdict in verdicts)),
                str(sum(verdict.requests for verdict in verdicts)),
                str(sum(verdict.failed for verdict in verdicts)),
                str(sum(len(verdict.failed_beyond) for verdict in verdicts)),
                f"{max(verdict.slowest for verdict in verdicts):.1f}",
                f"{max(verdict.recovered for verdict in verdicts):.1f}",
            )
    console.print(table)
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
