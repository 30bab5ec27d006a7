"""Whether a job is long enough to compare runtimes for it, and what is said of that before it runs."""

from pipelines.console import clock
from pipelines.execution.runtimes.sample import sample_windows
from pipelines.job.job import Job

SHARE = 0.02
"""Of the forecast time of a job, that comparing runtimes may take."""
LEAST_SECONDS = 8.0
"""That comparing two runtimes takes when nothing has to be converted: a job that may not spend it does not begin."""


def prospect(job: Job) -> str | None:
    """What `auto` would do if the job were run; None where the runtime is decided."""
    runtime = job.model.runtime
    if runtime is None or not runtime.is_open:
        return None
    sample = sample_windows(job)
    budget = 0.0 if sample is None else SHARE * sample.job_tokens / job.model.tokens_per_second
    if budget < LEAST_SECONDS:
        return f"the job is too short to compare runtimes, which may take {SHARE:.0%} of its time"
    return f"the job would first compare the runtimes that are installed, for {clock(budget)} at most"
