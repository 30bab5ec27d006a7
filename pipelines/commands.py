"""What the commands do once their words are understood."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from pipelines.consoles import open_console
from pipelines.counts import read_counts
from pipelines.dry_run import show_plan
from pipelines.errors import ConfigError, ManifestError
from pipelines.estimate import estimate_job, estimate_table
from pipelines.execute import Outcome, execute
from pipelines.extension import read_plan
from pipelines.inspection import Config
from pipelines.job import Job, bind, expected_shards, plan_job
from pipelines.manifest import read_manifest
from pipelines.shards import SUCCESS_NAME, Parts, list_names
from pipelines.storage import resolve

GUILTY_ROWS = 3
"""Exit code of a job that is complete, but for rows that broke the model or its worker."""


def run_job(
    config: Config,
    inputs: Sequence[str],
    output: str,
    limit: int | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    extend: bool = False,
    estimate: bool = False,
) -> int:
    """Runs `spanmill answer` and `spanmill embed`.

    Returns:
        The exit code: 0, or GUILTY_ROWS.

    Raises:
        SpanmillError, ModelError: whatever keeps the job from completing.
    """
    if extend and limit is not None:
        raise ConfigError("--extend and --limit do not go together: a job of the first N rows has no room for more")
    job = plan_job(inputs, output, config, limit)
    if dry_run:
        show_plan(job, open_console())
        return 0
    if estimate:
        open_console().print(estimate_table(job, estimate_job(job, open_console(stderr=True))))
        return 0
    job = bind(job, overwrite, extend)
    outcome = execute(job, open_console(stderr=True))
    open_console().print(outcome_table(job, outcome))
    return GUILTY_ROWS if outcome.guilty else 0


def outcome_table(job: Job, outcome: Outcome) -> Table:
    """The figures of one run."""
    tally = outcome.tally
    table = _two_columns()
    if outcome.shards_before:
        table.add_row("committed before", f"{outcome.shards_before:,} shards")
    table.add_row("rows", f"{tally.rows + tally.quarantined:,}")
    table.add_row("answered" if job.kind == "answer" else "embedded", f"{tally.answered:,}")
    table.add_row("quarantined", f"{tally.quarantined:,}")
    if outcome.guilty:
        table.add_row("guilty", f"{outcome.guilty:,} rows broke the model or its worker and are quarantined")
    if tally.found:
        table.add_row("committed meanwhile", f"{tally.found:,} shards, by another run")
    if tally.store_errors:
        table.add_row("store errors", f"{tally.store_errors:,} failed calls")
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
    table.add_row("model", job.config.model.name)
    table.add_row("output", job.store.url)
    return table


def _two_columns() -> Table:
    table = Table(show_header=False, box=None)
    table.add_column()
    # A path is wanted whole: on a narrow terminal it goes on in the next line.
    table.add_column(overflow="fold")
    return table


def show_status(output: str, storage: Mapping[str, object]) -> bool:
    """Prints how far a job is; True when it is complete.

    Raises:
        ManifestError: there is no job, or its manifest is damaged.
        StorageError: the folder cannot be read.
    """
    store = resolve(output, storage)
    manifest = read_manifest(store)
    if manifest is None:
        raise ManifestError(f"{store.url}: no job of Spanmill here (there is no _manifest.json)")
    parts = Parts(store, manifest.job8, manifest.results["output"]["format"])
    plan = read_plan(store, manifest)
    committed = parts.committed()
    counts = read_counts(parts, committed)
    complete = SUCCESS_NAME in list_names(store)
    table = _two_columns()
    table.add_row("job", f"{manifest.kind} {manifest.job8}, of {manifest.created}")
    table.add_row("state", "complete" if complete else "not complete: the same command goes on")
    table.add_row("shards", f"{committed.shards:,} of about {max(expected_shards(plan), committed.shards):,}")
    table.add_row("read units", f"{committed.complete_units:,} of {len(plan.units):,} complete")
    table.add_row("rows", f"{counts.rows:,}")
    table.add_row("quarantined", f"{counts.quarantined:,}")
    open_console().print(table)
    return complete
