"""`python -m tests.cluster.faults`: what happens to jobs, requests and the service where hosts fail, and for how long.

Each fault comes while requests come in and a job runs: one that shares the service's replicas, one with a pool of its
own, or, where a worker joins, one whose pool may grow.
"""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.cluster.bench import WORKER_CPUS, Bench, Job, bench
from tests.cluster.host import missing
from tests.cluster.load import asking
from tests.waiting import until

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
    strike: Callable[[Bench], str]
    """Returns once whatever is to come back, by hand or by a supervisor, was started again.

    Gives the name of a host that has joined and is to get work; empty where there is none.
    """
    ends_replicas: bool = False
    """Whether replicas of the first worker end with it."""
    pools: tuple[str, ...] = ("serve", "own")
    """Those of the jobs during which it comes."""


@dataclass
class Verdict:
    """What became of the jobs and the requests of one fault."""

    rows_equal: bool
    newcomer_worked: bool
    """Whether a host that joined has computed a shard; true where none joined."""
    requests: int
    """That ended after the fault had come."""
    failed: int
    failed_beyond: list[str] = field(default_factory=list)
    """Errors of requests that were sent after it happened."""
    slowest: float = 0.0
    """Seconds of the longest request that was answered."""
    recovered: float = 0.0
    """Seconds from the fault until the job had committed a further shard, one computed by the host that joined where
    one did, or was done, and all replicas ran."""

    def is_good(self) -> bool:
        """Whether nothing was lost but what was in flight."""
        return self.rows_equal and self.newcomer_worked and not self.failed_beyond


def _worker_killed(at: Bench) -> str:
    worker = at.cluster.workers[0]
    worker.kill()
    time.sleep(AWAY_SECONDS)
    worker.boot()
    at.cluster.start_worker(worker, WORKER_CPUS)
    return ""


def _worker_drained(at: Bench) -> str:
    worker = at.cluster.workers[0]
    at.cluster.drain_worker(worker)
    at.cluster.start_worker(worker, WORKER_CPUS)
    return ""


def _worker_joins(at: Bench) -> str:
    return at.cluster.add_worker(WORKER_CPUS).name


def _worker_cut(at: Bench) -> str:
    worker = at.cluster.workers[0]
    worker.cut()
    time.sleep(CUT_SECONDS)
    worker.restore()
    return ""


def _head_killed(at: Bench) -> str:
    at.cluster.head.kill()
    at.cluster.head.boot()
    at.cluster.start_head()
    return ""


@dataclass(frozen=True)
class Pool:
    """What a job computes with."""

    keys: tuple[str, ...]
    """Those of --set."""
    compared_with: str = "torch"
    """The runtime of the undisturbed job that has the same answers."""


POOLS = {
    "serve": Pool(("pool.kind=serve",)),
    "own": Pool(("ray.address=auto", "pool.size=2", "pool.cpus=0.5")),
    # Its actors sleep and leave the machine's cores alone, as those do that have a device each. Actors that compute
    # with torch keep all cores busy, and the start of another one then takes as long as the job.
    "growing": Pool(
        (
            "ray.address=auto",
            "pool.size=1",
            "pool.max_size=6",
            "pool.cpus=1",
            "corpus.shard_rows=2",
            "model.backend=tests.cluster.sleeping_runtime:SLOW",
        ),
        "tests.cluster.sleeping_runtime:FAST",
    ),
}
"""Of the jobs during which faults come, by name."""
FAULTS = {
    "worker": Fault(f"a worker is killed, and joins again after {AWAY_SECONDS:g} s", _worker_killed, True),
    "drain": Fault("a worker gets SIGTERM, and joins again", _worker_drained, True),
    "join": Fault("a third worker joins", _worker_joins, pools=("growing",)),
    "cut": Fault(f"the network of a worker is cut for {CUT_SECONDS:g} s", _worker_cut),
    "head": Fault("the head is killed, and started again", _head_killed),
}


def cases(kinds: Iterable[str] = FAULTS) -> list[tuple[str, str]]:
    """Kinds of faults, each with the pools of the jobs during which it comes."""
    return [(kind, pool) for kind in kinds for pool in FAULTS[kind].pools]


def strike(at: Bench, fault: Fault, pool: str) -> Verdict:
    """Has a fault come during a job and requests, and waits for the end of the job.

    Args:
        pool: one of POOLS.
    """
    # It runs a job, which nothing may disturb.
    at.undisturbed_rows(POOLS[pool].compared_with)
    at.wait_for_replicas()
    job = at.start_job(at.cluster.workers[1], keys=POOLS[pool].keys)
    with asking([at.url(host) for host in at.cluster.workers], at.cluster.token, _PER_SECOND) as load:
        job.wait_for(_BEFORE)
        first = at.cluster.workers[0].address
        there = [replica for replica, host in at.running_replicas().items() if host == first]
        committed, began = job.committed(), time.monotonic()
        newcomer = fault.strike(at)
        try:
            until(lambda: _got_on(job, committed, newcomer), _RECOVERY_SECONDS)
            at.wait_for_replicas(without=there if fault.ends_replicas else ())
            recovered = time.monotonic() - began
            job.wait()
            at.wait_for_replicas()
        finally:
            for worker in at.cluster.workers[2:]:
                at.cluster.remove_worker(worker)
    # What a busy machine refused before has nothing to do with the fault.
    requests = load.since(began)
    failed = [one for one in requests if one.error]
    beyond = [f"{one.began - began:+.1f} s: {one.error}" for one in failed if one.began > began]
    slowest = max((one.ended - one.began for one in requests if not one.error), default=0.0)
    worked = not newcomer or newcomer in {event["node"] for event in job.events("shard committed")}
    return Verdict(
        at.rows_equal(job.output, POOLS[pool].compared_with),
        worked,
        len(requests),
        len(failed),
        beyond,
        slowest,
        recovered,
    )


def _got_on(job: Job, committed: int, newcomer: str) -> bool:
    """Whether a job is done or has committed more than so many shards, one of them by a host if one is named."""
    if not job.is_running:
        return True
    events = job.events("shard committed")
    return len(events) > committed and (not newcomer or newcomer in {event["node"] for event in events})


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
) -> None:
    """Has every fault come so many times, and prints a table of what came of it; exit code 1 where it is amiss."""
    if obstacle := missing():
        sys.exit(obstacle)
    console = Console(width=140)
    columns = ("fault", "pool", "times", "rows equal", "requests", "failed", "of these, sent afterwards")
    table, good = Table(*columns, "slowest answer, s", "recovered after, s"), True
    with bench() as at:
        at.start_service(at.cluster.head)
        for kind, pool in cases(kinds.split(",")):
            verdicts = []
            for _ in range(times):
                verdicts.append(verdict := strike(at, FAULTS[kind], pool))
                console.print(f"{kind}, {pool}: {verdict}", markup=False)
            table.add_row(FAULTS[kind].what, pool, *_figures(verdicts))
            good &= all(map(Verdict.is_good, verdicts))
    console.print(table)
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
