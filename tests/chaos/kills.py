"""SIGKILL for the driver, a model actor, a Ray worker, and the second raylet of a cluster."""

import time
from collections.abc import Callable, Sequence
from random import Random

from tests.chaos.bench import Bench
from tests.chaos.jobs import Job
from tests.chaos.workers import Worker
from tests.pipelines.processes import Command

_PATIENCE_SECONDS = 2.0
"""How long to wait for a worker that is at work: most tasks take milliseconds."""
_AWAY_SECONDS = 3.0

Strike = Callable[[Command], bool]
"""Does harm to a running command; False when there was nothing to harm."""


def strike_after_commits(job: Job, strike: Strike, most: int) -> int:
    """Runs the job to its end, and strikes after new commits; returns how often."""
    struck, command = 0, job.start()
    while struck < most and job.wait_for_commit(command):
        struck += strike(command)
    job.finish(command)
    return struck


def kill_drivers(bench: Bench, job: Job, most: int) -> int:
    """Kills the driver of a local cluster and runs the command again, until the job is done."""
    struck, command = 0, job.start()
    while struck < most and job.wait_for_commit(command):
        command.process.kill()
        command.process.wait()
        struck += 1
        # At once: what the killed run has left behind may still be at work.
        command = job.start()
    job.finish(command)
    return struck


def kill_actors(bench: Bench, job: Job, most: int) -> int:
    """Kills model actors of one running driver."""
    return strike_after_commits(job, lambda _: kill_model_actor(bench.cluster.workers(), bench.random), most)


def kill_workers(bench: Bench, job: Job, most: int) -> int:
    """Kills other workers of one running driver."""
    return strike_after_commits(job, lambda _: kill_other_worker(bench.cluster.workers, bench.random), most)


def kill_raylets(bench: Bench, job: Job, most: int) -> int:
    """Kills the second raylet of a cluster while a model actor runs below it, and starts it again a little later."""
    nodes = bench.two_nodes

    def strike(command: Command) -> bool:
        below = nodes.second_workers()
        if not any(worker.is_model_actor for worker in below):
            return False
        killed = next(worker for worker in below if worker.is_raylet).kill()
        nodes.seconds[-1].process.wait()
        time.sleep(bench.random.uniform(0, _AWAY_SECONDS))
        nodes.add_second()
        return killed

    return strike_after_commits(job, strike, most)


def kill_model_actor(found: Sequence[Worker], random: Random) -> bool:
    """One of the model actors among these processes."""
    return _kill_one([worker for worker in found if worker.is_model_actor], random)


def kill_other_worker(look: Callable[[], Sequence[Worker]], random: Random) -> bool:
    """Half of the time one that runs a stage, as soon as there is one; else any of Ray's workers but model actors."""
    only_busy, deadline = random.random() < 0.5, time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = [worker for worker in look() if worker.is_other_worker]
        busy = [worker for worker in found if worker.is_at_work]
        if busy or not only_busy or time.monotonic() > deadline:
            return _kill_one(busy if only_busy and busy else found, random)


def _kill_one(found: Sequence[Worker], random: Random) -> bool:
    return bool(found) and random.choice(found).kill()
