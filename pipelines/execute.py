"""Running a job to its end: passes over what is missing, then the mark of success."""

import time
from dataclasses import dataclass

from rich.console import Console

from pipelines.cluster import cluster_size, connected
from pipelines.errors import SpanmillError
from pipelines.job import Job, check_complete, expected_shards
from pipelines.pool import Pool, plan_pool
from pipelines.progress import Progress, Tally
from pipelines.run import build, receipts
from pipelines.shards import SUCCESS_NAME, list_names, remove_success, write_success
from pipelines.work import Work


@dataclass(frozen=True)
class Outcome:
    """What one run of a job did."""

    tally: Tally
    shards_before: int
    """Shards that earlier runs had committed."""
    seconds: float
    """From the first shard's start to the last commit, start-up of Ray and model included."""
    rate: float
    """Rows per second after the first commit of this run; 0 where there was only one."""


def execute(job: Job, console: Console) -> Outcome:
    """Runs what is missing of a bound job, and marks it complete.

    Raises:
        JobError: shards are missing after the last pass, or the cluster cannot be used.
        ConfigError: the cluster cannot hold the pool.
    """
    started = time.monotonic()
    committed = job.committed()
    before = committed.shards
    progress = Progress(console, before, expected_shards(job.plan), job.plan.layout.shard_rows)
    works = Work.left(job.plan, committed)
    if works:
        remove_success(job.store)
        console.print("starting Ray and the model ...")
        with connected(job.config.ray), progress.shown():
            pool = plan_pool(job.config.pool, job.config.model.threads, *cluster_size())
            for _ in range(job.config.ray.passes):
                _one_pass(job, pool, works, progress)
                works = Work.left(job.plan, job.committed())
                if not works:
                    break
                if not progress.tally.failures:
                    progress.note("a worker died with its shard, for want of memory perhaps; Ray's logs know more")
    check_complete(job, list(progress.tally.failures.values()))
    outcome = Outcome(progress.tally, before, time.monotonic() - started, progress.final_rate())
    if SUCCESS_NAME not in list_names(job.store):
        write_success(job.store, _summary(job, outcome))
    return outcome


def _one_pass(job: Job, pool: Pool, works: list[Work], progress: Progress) -> None:
    try:
        for receipt in receipts(build(job, pool, works)):
            progress.add(receipt)
    except SpanmillError:
        raise
    except Exception as error:  # Ray Data wraps what breaks down in several kinds, not all of them RayErrors
        progress.note(f"{type(error).__name__}: {_essence(error)}")


def _essence(error: Exception) -> str:
    """Ray's messages end with what happened; the frames before it are Ray's own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _summary(job: Job, outcome: Outcome) -> dict[str, object]:
    return {
        "job": job.manifest.job_id,
        "shards": job.committed().shards,
        "last_run": {
            "rows": outcome.tally.rows,
            "quarantined": outcome.tally.quarantined,
            "seconds": round(outcome.seconds, 3),
        },
    }
