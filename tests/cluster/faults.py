"""`python -m tests.cluster.faults`: what happens to jobs, requests and the service where hosts fail, and for how long.

Each fault comes while requests come in, and once during a job that shares the service's replicas, once during one with
a pool of its own.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
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
_BEFORE = 3
"""Shards that the job has committed when the fault comes."""
_PER_SECOND = 1.0
_RECOVERY_SECONDS = 600.0


@dataclass(frozen=True)
class Fault:
    """What is done to the cluster; its first worker is what fails, and the job's driver is on the second."""

    what: str
    strike: Callable[[Bench], None]
    """Returns once whatever is to come back, by hand or by a supervisor, was started again."""
    kills_replicas: bool = False
    """Whether replicas of the first worker end with it."""


@dataclass
class Verdict:
    """What became of the jobs and the requests of one fault."""

    rows_equal: bool
    requests: int
    """That ended after the fault had come."""
    failed: int
    failed_beyond: list[str] = field(default_factory=list)
    """Errors of requests that were sent after it happened."""
    slowest: float = 0.0
    """Seconds of the longest request that was answered."""
    recovered: float = 0.0
    """Seconds from the fault until the job had committed a further shard, or was done, and all replicas ran."""


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


POOLS = {
    "serve": ("--pool", "serve"),
    "own": ("--set", "ray.address=auto", "--set", "pool.size=2", "--set", "pool.cpus=0.5"),
}
FAULTS = {
    "worker": Fault(f"a worker is killed, and joins again after {AWAY_SECONDS:g} s", _worker_killed, True),
    "cut": Fault(f"the network of a worker is cut for {CUT_SECONDS:g} s", _worker_cut),
    "head": Fault("the head is killed, and started again", _head_killed),
}


def strike(at: Bench, fault: Fault, pool: str) -> Verdict:
    """Has a fault come during a job and requests, and waits for the end of the job.

    Args:
        pool: serve, or own.
    """
    at.wait_for_replicas()
    job = at.start_job(at.cluster.workers[1], *POOLS[pool])
    with asking([at.url(host) for host in at.cluster.workers], at.cluster.token, _PER_SECOND) as load:
        job.wait_for(_BEFORE)
        first = at.cluster.workers[0].address
        there = [replica for replica, host in at.running_replicas().items() if host == first]
        committed, began = job.committed(), time.monotonic()
        fault.strike(at)
        recovered = _recovery(at, job, committed, there if fault.kills_replicas else ()) - began
        job.wait()
        at.wait_for_replicas()
    # What a busy machine refused before has nothing to do with the fault.
    requests = load.since(began)
    failed = [one for one in requests if one.error]
    beyond = [f"{one.began - began:+.1f} s: {one.error}" for one in failed if one.began > began]
    slowest = max((one.ended - one.began for one in requests if not one.error), default=0.0)
    return Verdict(at.rows_equal(job.output), len(requests), len(failed), beyond, slowest, recovered)


def _recovery(at: Bench, job: Job, committed: int, dead: Sequence[str]) -> float:
    """When, by `time.monotonic`, the job has got on or is done, and all replicas run, none of the dead among them."""
    deadline = time.monotonic() + _RECOVERY_SECONDS
    while job.is_running and job.committed() == committed:
        assert time.monotonic() < deadline, job.command.said()
        time.sleep(0.3)
    at.wait_for_replicas(without=dead)
    return time.monotonic()


def _figures(verdicts: Sequence[Verdict]) -> list[str]:
    """The columns of the table behind the pool."""
    sums = (
        len(verdicts),
        sum(verdict.rows_equal for verdict in verdicts),
        sum(verdict.requests for verdict in verdicts),
        sum(verdict.failed for verdict in verdicts),
        sum(len(verdict.failed_beyond) for verdict in verdicts),
    )
    longest = max(verdict.slowest for verdict in verdicts), max(verdict.recovered for verdict in verdicts)
    return [*map(str, sums), *(f"{seconds:.0f}" for seconds in longest)]


def main(
    times: Annotated[int, typer.Option(min=1, help="How often each fault comes.")] = 1,
    kinds: Annotated[str, typer.Option(help="Which, with commas between.")] = ",".join(FAULTS),
    pools: Annotated[str, typer.Option(help="Of the jobs, with commas between.")] = ",".join(POOLS),
) -> None:
    """Has every fault come so many times, and prints a table of what came of it; exit code 1 where rows differ."""
    if obstacle := missing():
        sys.exit(obstacle)
    console = Console(width=140)
    columns = ("fault", "pool", "times", "rows equal", "requests", "failed", "of these, sent afterwards")
    table, good = Table(*columns, "slowest answer, s", "recovered after, s"), True
    with bench() as at:
        at.start_service(at.cluster.head)
        for pool, kind in product(pools.split(","), kinds.split(",")):
            verdicts = []
            for _ in range(times):
                verdicts.append(verdict := strike(at, FAULTS[kind], pool))
                console.print(f"{kind}, {pool}: {verdict}", markup=False)
            table.add_row(FAULTS[kind].what, pool, *_figures(verdicts))
            good &= all(verdict.rows_equal and not verdict.failed_beyond for verdict in verdicts)
    console.print(table)
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
