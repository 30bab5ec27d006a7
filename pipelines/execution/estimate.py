"""`--estimate`: a sample of the real input on the pool at hand, and what the whole job will take."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table

from pipelines.errors import JobError
from pipelines.execution.forecast import Forecast, Interval, make_forecast
from pipelines.execution.job_pool import pool_of
from pipelines.execution.node_watch import refused_by, watch_of
from pipelines.execution.output_size import OutputSize, sampled_size
from pipelines.execution.ray_pipeline import build, receipts
from pipelines.execution.runtimes.prospect import prospect
from pipelines.execution.sampling import counted_plan, sample_plan, sample_size
from pipelines.execution.stage_factory import make_stages
from pipelines.execution.stage_list import StageList
from pipelines.job.driver_actor import in_cluster, is_outside
from pipelines.job.job import Job
from pipelines.job.nodes.check import away_from
from pipelines.job.pool_size import ActorPool
from pipelines.job.ray_cluster import cluster_size, connected_for
from pipelines.output.receipt import Receipt
from pipelines.planning.shard_size import tokens_of
from pipelines.reporting.progress import Progress
from pipelines.stages.pending_units import PendingUnit
from pipelines.words import counted, of_bytes

_PIECES = 24
_SECONDS = 30.0
"""What the passes over the sample should take on one actor."""
_FEWEST_ROWS, _MOST_ROWS = 16, 2048
"""Of a piece."""
_MIN_PIECES = 3
_HOUR = 3600.0


@dataclass(frozen=True)
class Estimate:
    """A forecast, and the pool that it is for."""

    forecast: Forecast
    pool: ActorPool
    shards: int
    cost_per_hour: float | None
    """Of the whole pool."""
    is_small: bool = False
    """The job is hardly longer than a sample that tells much, so fewer rows were tried."""
    size: OutputSize | None = None
    """Column by column; None where no row of the sample could be read."""

    @property
    def cost_per_million(self) -> Interval | None:
        """Cost of a million rows, start-up left out; None where no price is known."""
        if self.cost_per_hour is None:
            return None
        return self.forecast.seconds_per_row.times(1e6 / _HOUR * self.cost_per_hour)


def estimate_job(job: Job, console: Console, waited: float = 0.0) -> Estimate:
    """Runs a sample of a planned job without writing a byte.

    Args:
        waited: seconds that it took to plan the job, which will take them again.

    Raises:
        JobError: the sample could not be run, or has too few rows.
        ConfigError: the cluster cannot hold the pool.
    """
    if is_outside(job.config):
        return in_cluster(estimate_job, job, console, waited)
    whole = counted_plan(job.plan, job.config.corpus.storage)
    size = sample_size(whole.row_estimate, _PIECES, _piece_rows(job), _MIN_PIECES)
    plan = sample_plan(job.plan, size.pieces, size.piece_rows)
    progress = Progress(console, 0, len(plan.units), plan.row_estimate, pieces="samples")

    def warn(text: str) -> None:
        progress.note(f"warning: {text}", is_failure=False)

    pending = [PendingUnit(unit, plan.file_of(unit), frozenset()) for unit in plan.units]
    began = time.time() - waited
    console.print("starting Ray and the model ...")
    with connected_for(job.config), progress.shown():
        watch = watch_of(job, pending, warn, is_bound=False)
        if watch is not None:
            watch.begin()
        refused = refused_by(watch)
        resources, nodes = cluster_size(refused)
        pool = pool_of(job, resources, nodes, refused, warn)
        stages = replace(make_stages(replace(job, plan=plan), pool, rehearsal=True), placement=away_from(refused))
        found = _run_sample(stages, pending, progress)
    done = [receipt for receipt in found if not receipt.failed_in and receipt.rows + receipt.quarantined]
    if len(done) < _MIN_PIECES:
        reasons = "".join(f"\n  {reason}" for reason in progress.tally.reasons_of_failure()[:5])
        raise JobError(
            f"too little of the input could be tried for an estimate; run it with --limit 100 first{reasons}"
        )
    shards = whole.expected_shards
    forecast = make_forecast(
        done,
        pool.size,
        whole.row_estimate,
        shards,
        stages.write.stage.empty_part_bytes(),
        startup=min(receipt.started for receipt in done) - began,
    )
    price = job.config.pool.price_per_hour
    cost = None if price is None else price * pool.size
    return Estimate(forecast, pool, shards, cost, size.is_small_job, sampled_size(job, whole.row_estimate))


def _run_sample(stages: StageList, pending: Sequence[PendingUnit], progress: Progress) -> list[Receipt]:
    """Receipts of the pieces that were tried; a node that goes hands others back, and these tell nothing."""
    found = []
    for receipt in receipts(build(stages, pending)):
        if not receipt.handed_back:
            progress.add(receipt)
            found.append(receipt)
    return found


def estimate_table(job: Job, estimate: Estimate) -> Table:
    """The figures, with the interval of nine times out of ten."""
    forecast = estimate.forecast
    exact = "" if job.plan.exact_rows is not None else "about "
    table = Table(box=None, header_style="not bold")
    for name in ("", "expected", "from", "to"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_row("rows", f"{exact}{forecast.rows:,}")
    rate = forecast.seconds_per_row
    table.add_row("rows/s", *(f"{1 / max(value, 1e-9):,.1f}" for value in (rate.value, rate.high, rate.low)))
    table.add_row("duration", *map(_duration, _figures(forecast.seconds)))
    million = estimate.cost_per_million
    if million is not None and estimate.cost_per_hour is not None:
        table.add_row("cost of a million rows", *(f"{value:,.2f}" for value in _figures(million)))
        whole = forecast.seconds.times(estimate.cost_per_hour / _HOUR)
        table.add_row("cost of the job", *(f"{value:,.2f}" for value in _figures(whole)))
    table.add_row("output", *map(of_bytes, _figures(forecast.output_bytes)))
    if estimate.size is not None:
        table.add_row("  before compression", of_bytes(estimate.size.total))
        for column in estimate.size.columns:
            table.add_row(f"  {column.name}", of_bytes(column.bytes))
    table.add_row("quarantined", *(f"{value:.2%}" for value in _figures(forecast.quarantined)))
    table.add_row("parts", f"{exact}{estimate.shards:,}")
    table.add_row("rows of a part", f"{job.plan.layout.shard_rows:,}")
    notes = [
        f"from {counted(forecast.sampled, 'row')} on {counted(estimate.pool.size, 'model actor')}, "
        "nine times out of ten" + ("" if estimate.cost_per_hour else "; set pool.price_per_hour for the cost")
    ]
    if job.model.runtime is not None:
        notes.append(f"in {job.model.runtime}")
    if more := prospect(job):
        notes.append(more)
    if estimate.is_small:
        notes.append("a small job: it takes hardly longer than this estimate, which tried few rows of it")
    if estimate.size is not None and estimate.size.columns:
        notes.append(estimate.size.note)
    table.caption, table.caption_justify = "\n".join(notes), "left"
    return table


def _piece_rows(job: Job) -> int:
    """Rows of a piece, so that the whole sample keeps one actor busy for about `_SECONDS`."""
    plan = job.plan
    row_bytes = sum(file.size for file in plan.files) / max(plan.row_estimate, 1)
    rows = _SECONDS * job.model.tokens_per_second / tokens_of(row_bytes) / _PIECES
    return int(min(max(rows, _FEWEST_ROWS), _MOST_ROWS))


def _figures(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), int(_HOUR))
    return f"{hours:,}:{rest // 60:02}:{rest % 60:02}"
