"""Whether a job is long enough to compare runtimes for it, and what is said of that before it runs."""

from pipelines.console import clock
from pipelines.job.job import Job
from pipelines.planning.shard_size import tokens_of

SHARE = 0.02
"""Of the forecast time of a job, that comparing runtimes may take."""
LEAST_SECONDS = 8.0
"""That comparing two runtimes takes when nothing has to be converted: a job that may not spend it does not begin."""


def forecast_seconds(job: Job, actors: int = 1) -> float:
    """What the passes of a whole job will take, as far as its plan tells."""
    plan = job.plan
    row_bytes = sum(file.size for file in plan.files) / max(plan.row_estimate, 1)
    return plan.row_estimate * tokens_of(row_bytes) / max(job.model.tokens_per_second, 1e-9) / actors


def prospect(job: Job) -> str | None:
    """What `auto` would do if the job were run; None where the runtime is decided."""
    runtime = job.model.runtime
    if runtime is None or not runtime.is_open:
        return None
    budget = SHARE * forecast_seconds(job)
    if budget < LEAST_SECONDS:
        return f"the job is too short to compare runtimes, which may take {SHARE:.0%} of its time"
    return f"the job would first compare the runtimes that are installed, for {clock(budget)} at most"
