"""Runs an offline job for `spanmill answer` and `spanmill embed`, and prints its outcome."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from actors.engine.inference_task import Wanted
from pipelines.cli.process_clock import seconds_waited
from pipelines.config.job import OfflineConfig
from pipelines.console import Pairs, open_console
from pipelines.errors import ConfigError
from pipelines.job.job import Job, bind, find_places, plan_in
from pipelines.output.first_rows import can_show
from pipelines.output.parts import QUARANTINE_FOLDER, REPORT_HTML
from pipelines.output.row_counts import RowCounts
from pipelines.rows.misfits import advice, describe
from pipelines.shell import relative, spanmill
from pipelines.words import counted, of_lengths

if TYPE_CHECKING:
    from pipelines.execution.outcome import Outcome

_ROWS = 3
"""Rows that the next command shows."""


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
    places = find_places(inputs, output, config)
    for line in places.listing.left_out:
        open_console(stderr=True).print(line, soft_wrap=True)
    # Each of these takes a part of a second to import: what is wrong with the paths was said before.
    if not (dry_run or estimate or overwrite):
        from pipelines.job.finished_job import find_finished

        counts = find_finished(places, config, limit)
        if counts is not None:
            _say_finished(config, str(places.store.url), counts)
            return config.poison_exit_code if counts.poison_rows else 0
    # A forecast and a plan are made in seconds, and a job may run for days.
    job = plan_in(places, config, limit, anew=overwrite, apart=not (dry_run or estimate))
    if dry_run:
        from pipelines.cli.commands.dry_run import show_plan

        show_plan(job, open_console())
        return 0
    # Ray comes with these, and takes seconds.
    from pipelines.execution.estimate import estimate_job, estimate_table
    from pipelines.execution.executor import execute
    from pipelines.execution.output_size import warnings
    from pipelines.execution.runtimes.choice import settled_runtime

    if estimate:
        found = estimate_job(job, open_console(stderr=True), seconds_waited())
        open_console().print(estimate_table(job, found))
        for line in () if found.size is None else warnings(found.size, job.store):
            open_console(stderr=True).print(f"warning: {line}", soft_wrap=True, markup=False)
        return 0
    with settled_runtime(job, config, open_console(stderr=True)) as job:
        job = bind(job, overwrite, extend)
        outcome = execute(job, open_console(stderr=True))
    if outcome.tally.shards or outcome.tally.found:
        outcome_table(job, outcome, seconds_waited()).print_to(open_console())
    else:
        _say_finished(config, str(job.store.url), outcome.counts)
    return outcome.exit_code


def _say_finished(config: OfflineConfig, output: str, counts: RowCounts) -> None:
    console = open_console()
    done = counted(counts.total, "row")
    if counts.chunks is not None:
        done = f"{counted(counts.total, 'document')} in {counted(counts.chunks, 'chunk')}"
    console.print(f"complete: {done}, nothing to do")
    finished_table(config, output, counts).print_to(console)


def finished_table(config: OfflineConfig, output: str, counts: RowCounts) -> Pairs:
    """What is there of a job that was complete before."""
    table = Pairs()
    if counts.quarantined:
        table.add("quarantined", f"{counts.quarantined:,}")
    _add_quarantine(table, output, counts)
    _add_places(table, config, output)
    return table


def outcome_table(job: Job, outcome: "Outcome", seconds: float) -> Pairs:
    """The figures of one run, and beside them those of the whole job where earlier runs did a part of it.

    Args:
        seconds: that the user has waited for it, start and planning included.
    """
    tally, counts, output = outcome.tally, outcome.counts, str(job.store.url)

    def beside(run: int, whole: int | None) -> str:
        return f"{run:,}" if not outcome.shards_before or whole is None else f"{run:,} of {whole:,} in the whole job"

    table = Pairs()
    table.add("rows" if counts.chunks is None else "documents", beside(tally.total, counts.total))
    table.add(_done_to_rows(job.task), beside(tally.answered, counts.answered))
    if counts.chunks is not None:
        table.add("chunks", f"{beside(tally.chunks, counts.chunks)}, a row of the output each")
    table.add("quarantined", beside(tally.quarantined, counts.quarantined))
    _add_quarantine(table, output, counts)
    if outcome.shards_before:
        table.add("shards", beside(tally.shards, outcome.shards_before + tally.shards + tally.found))
    for (column, kind), count in sorted(tally.misfits.items()):
        table.add("not as it was", describe(column, kind, count))
    if mend := advice(tally.misfits):
        table.add_whole("", mend)
    if tally.found:
        table.add("committed meanwhile", f"{counted(tally.found, 'shard')}, by another run")
    if tally.store_errors:
        table.add("store errors", counted(tally.store_errors, "failed call"))
    _add_speed(table, outcome, seconds)
    table.add("model", job.model_name)
    if job.model.runtime is not None:
        table.add_whole("runtime", str(job.model.runtime))
    _add_places(table, job.config, output)
    return table


def _done_to_rows(task: Wanted) -> str:
    if task.gives_answers:
        return "answered"
    return "embedded" if task.gives_embeddings else "computed"


def _add_quarantine(table: Pairs, output: str, counts: RowCounts) -> None:
    if counts.quarantined:
        reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in counts.reasons.most_common())
        table.add("reasons", f"{reasons}; the rows are in {output}/{QUARANTINE_FOLDER}")
    if counts.poison_rows:
        are = "is" if counts.poison_rows == 1 else "are"
        rows = counted(counts.poison_rows, "row")
        table.add("guilty", f"{rows} broke the model or its worker and {are} quarantined")


def _add_speed(table: Pairs, outcome: "Outcome", seconds: float) -> None:
    """How long it took, and what of that the model worked for; each speed says over which time it is."""
    tally, stats = outcome.tally, outcome.tally.stats
    mean = f": {tally.total / seconds:,.1f} rows/s" if seconds else ""
    table.add("whole run", f"{seconds:,.1f} s, planning and the start of Ray and model included{mean}")
    if not stats.total.seconds:
        return
    if outcome.rate:
        table.add("once it ran", f"{outcome.rate:,.1f} rows/s, from the first shard's begin to the last commit")
    rows, tokens = tally.rows / stats.total.seconds, stats.total.tokens / stats.total.seconds
    halved = f", {stats.out_of_memory:,} halved for want of memory" if stats.out_of_memory else ""
    table.add("forward passes", f"{stats.total.passes:,} in {stats.total.seconds:,.1f} s, by all actors{halved}")
    table.add("one actor", f"{rows:,.1f} rows/s, {tokens:,.0f} tokens/s while in a pass")
    table.add("padding", f"{stats.total.padding:.1%} of the tokens in the passes")
    table.add("windows a pass", of_lengths(stats.batch_sizes(), digits=1))


def _add_places(table: Pairs, config: OfflineConfig, output: str) -> None:
    """Where everything is, and a command that shows the first rows."""
    table.add_whole("output", output)
    table.add_whole("report", f"{output}/{REPORT_HTML}")
    rows = f" --rows {_ROWS}" if can_show(config.output.sink, config.output.format) else ""
    # Options that reach the store are not repeated, since they may be secret.
    storage = " --set output.storage=..." if config.output.storage else ""
    table.add_whole("next", f"{spanmill()} status {shlex.quote(relative(output))}{rows}{storage}")
