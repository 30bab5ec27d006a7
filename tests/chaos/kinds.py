"""The kinds of faults: which job each of them hits, and how."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.bench import Bench
from tests.chaos.jobs import Job
from tests.chaos.kills import kill_actors, kill_drivers, kill_raylets, kill_workers
from tests.chaos.outages import fill_disk, start_two, stop_s3, suspend_driver


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    job: Callable[[Bench], Job]
    run: Callable[[Bench, Job, int], int]
    """Runs a job to its end with at most so many faults; returns how many there were."""
    may_write_again: bool = True
    """A part may be replaced by an equal one, where its writer died or was not heard, or where two computed at once."""


KINDS = {
    kind.name: kind
    for kind in (
        Kind("driver", Bench.local_job, kill_drivers, may_write_again=False),
        Kind("actor", Bench.cluster_job, kill_actors),
        Kind("worker", Bench.cluster_job, kill_workers),
        Kind("raylet", Bench.two_node_job, kill_raylets),
        Kind("s3", Bench.s3_job, stop_s3),
        Kind("disk", lambda bench: bench.cluster_job(bench.disk), fill_disk, may_write_again=False),
        Kind("two", lambda bench: bench.cluster_job(files=1), start_two),
        Kind("stop", lambda bench: bench.cluster_job(files=1), suspend_driver),
    )
}
