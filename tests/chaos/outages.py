"""An S3 server that goes away, a disk that is full, and two drivers on one job."""

import os
import signal
import time

from tests.chaos.bench import Bench
from tests.chaos.disks import filled
from tests.chaos.jobs import Job, WrongEnd
from tests.chaos.kills import strike_after_commits
from tests.pipelines.processes import Command

_AWAY_SECONDS = (1.0, 8.0)
_APART_SECONDS = 3.0


def stop_s3(bench: Bench, job: Job, most: int) -> int:
    """Stops the server that holds input and output, and starts it again on the same port."""

    def strike(command: Command) -> bool:
        bench.s3.stop()
        time.sleep(bench.random.uniform(*_AWAY_SECONDS))
        bench.s3.start()
        return True

    return strike_after_commits(job, strike, most)


def fill_disk(bench: Bench, job: Job, most: int) -> int:
    """Fills the disk of the output; the command must say so and end, and goes on once there is room again."""
    struck, command = 0, job.start()
    while struck < most and job.wait_for_commit(command):
        with filled(job.output.parent):
            said = job.end(command, 0, 1)
        if command.process.returncode == 0:  # its last part was written before
            return struck
        if "Free some space" not in said:
            raise WrongEnd(f"the full disk was not named:\n{said[-3000:]}")
        struck += 1
        command = job.start()
    job.finish(command)
    return struck


def start_two(bench: Bench, job: Job, most: int) -> int:
    """Starts the command twice, the second one a little later; both come to their end."""
    first = job.start()
    time.sleep(bench.random.uniform(0, _APART_SECONDS))
    second = job.start()
    job.end(first, 0)
    job.end(second, 0)
    return 1


def suspend_driver(bench: Bench, job: Job, most: int) -> int:
    """Suspends a driver, lets another one finish the job, and wakes the first: it finds nothing left to do."""
    first = job.start()
    if not job.wait_for_commit(first):
        job.finish(first)
        return 0
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        job.end(job.start(), 0)
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    job.end(first, 0)
    return 1
