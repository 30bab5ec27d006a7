"""Runs an offline job for `spanmill answer` and `spanmill embed`, and prints its outcome."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pipelines.cli.dry_run import show_plan
from pipelines.config.job import OfflineConfig
from pipelines.console import open_console, two_columns
from pipelines.errors import ConfigError
from pipelines.job.job import Job, bind, plan_job
from pipelines.output.parts import QUARANTINE_FOLDER, REPORT_HTML
from pipelines.rows.misfits import advice, describe
from pipelines.words import counted

if TYPE_CHECKING:
    from pipelines.execution.executor import Outcome


def run_job(
    config: OfflineConfig,
    inputs: Sequence[str],
    output: str,
    limit: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    extend: bool = False,
    estimate: bool = False,
) -> int:
    """Plans a job and runs it, or only shows its plan or an estimate.

    Returns:
        The exit code, `Outcome.exit_code`.

    Raises:
        SpanmillError, ModelError: the job does not complete; the message says why.
    """
    if extend and limit is not None:
        raise ConfigError("--extend and --limit do not go together: a job of the first N rows has no room for more")
    job = plan_job(inputs, output, config, limit)
    for line in job.left_out:
        open_console(stderr=True).print(line, soft_wrap=True)
    if dry_run:
        show_plan(job, open_console())
        return 0
    # Ray comes with these, and takes seconds: what is wrong with the arguments was said before.
    from pipelines.execution.estimate import estimate_job, estimate_table
    from pipelines.execution.executor import execute

    if estimate:
        open_console().print(estimate_table(job, estimate_job(job, open_console(stderr=True))))
        return 0
    job = bind(job, overwrite, extend)
    outcome = execute(job, open_console(stderr=True))
    open_console().print(outcome_table(job, outcome))
    return outcome.exit_code


def outcome_table(job: Job, outcome: "Outcome") -> Table:
    """The figures of one run, and of the whole job where earlier runs did a part of it."""
    tally, counts = outcome.tally, outcome.counts
    table = two_columns()
    if outcome.shards_before:
        bad = f", {counts.quarantined:,} of them quarantined" if counts.quarantined else ""
        table.add_row("whole job", f"{counted(counts.rows + counts.quarantined, 'row')}{bad}")
        if not tally.shards and not tally.found:
            table.add_row("this run", "nothing to do: the job was complete")
            if outcome.poison_rows:
                table.add_row("guilty", _guilty(outcome))
            table.add_row("output", str(job.store.url))
            return table
        table.add_row("committed before", counted(outcome.shards_before, "shard"))
    table.add_row("rows", f"{tally.rows + tally.quarantined:,}")
    table.add_row("answered" if job.kind == "answer" else "embedded", f"{tally.answered:,}")
    table.add_row("quarantined", f"{tally.quarantined:,}")
    if counts.quarantined:
        reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in counts.reasons.most_common())
        table.add_row("reasons", f"{reasons}; the rows are in {job.store.url}/{QUARANTINE_FOLDER}")
    for (column, kind), count in sorted(tally.misfits.items()):
        table.add_row("not as it was", Text(describe(column, kind, count)))
    if mend := advice(tally.misfits):
        table.add_row("", Text(mend))
    if outcome.poison_rows:
        table.add_row("guilty", _guilty(outcome))
    if tally.found:
        table.add_row("committed meanwhile", f"{counted(tally.found, 'shard')}, by another run")
    if tally.store_errors:
        table.add_row("store errors", f"{counted(tally.store_errors, 'failed call')}")
    stats = tally.stats
    if stats.total.seconds:
        halved = f", {stats.out_of_memory:,} halved for want of memory" if stats.out_of_memory else ""
        table.add_row("forward passes", f"{stats.total.passes:,} in {stats.total.seconds:.1f} s{halved}")
        if outcome.rate:
            table.add_row("rows/s", f"{outcome.rate:,.1f} after the first commit")
        rows, tokens = tally.rows / stats.total.seconds, stats.total.tokens / stats.total.seconds
        table.add_row("per actor", f"{rows:,.1f} rows/s and {tokens:,.0f} tokens/s in the passes")
        table.add_row("padding", f"{stats.total.padding:.1%}")
        table.add_row("batch by length", " ".join(f"{b}:{n:.1f}" for b, n in stats.batch_sizes().items()))
    table.add_row("whole run", f"{outcome.seconds:.1f} s, with the start of Ray and model")
    table.add_row("model", job.model_name)
    table.add_row("output", str(job.store.url))
    table.add_row("report", f"{job.store.url}/{REPORT_HTML}")
    return table


def _guilty(outcome: "Outcome") -> str:
    are = "is" if outcome.poison_rows == 1 else "are"
    return f"{counted(outcome.poison_rows, 'row')} broke the model or its worker and {are} quarantined"
