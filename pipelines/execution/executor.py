"""Running a job to its end: passes over what is missing, then the mark of success."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from rich.console import Console

from actors.errors import last_line
from pipelines.config.quarantine_limit import QuarantineLimit
from pipelines.errors import JobError, SpanmillError
from pipelines.execution.job_pool import pool_of
from pipelines.execution.lost_work import WorkLost
from pipelines.execution.node_watch import NodeWatch, refused_by, watch_of
from pipelines.execution.outcome import Outcome
from pipelines.execution.poison_row_search import PoisonRowSearch
from pipelines.execution.ray_pipeline import build, receipts
from pipelines.execution.stage_factory import make_stages
from pipelines.execution.stage_list import StageList
from pipelines.job.driver_actor import in_cluster, is_outside
from pipelines.job.job import Job, check_complete
from pipelines.job.nodes.check import away_from
from pipelines.job.pool_size import ActorPool, shared_replicas
from pipelines.job.ray_cluster import cluster_size, connected_for
from pipelines.output.parts import REPORT_JSON, ShardId, has_success, remove_success
from pipelines.output.receipt import Receipt
from pipelines.output.row_counts import RowCounts, read_counts
from pipelines.reporting.progress import Progress
from pipelines.reporting.run_observer import RunObserver
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.tracing import JobTrace, traced_job
from pipelines.storage.filesystem import exists
from pipelines.words import counted

_MOST_LOST_SHARDS = 6
"""Shards in a row at which a device may be lost while none is committed; then the job ends. Each one costs a start of
the model, and a few rows that break a device are left to the search for them."""


class Watcher(Protocol):
    """Somebody who wants to know of every receipt."""

    def add(self, receipt: Receipt) -> None:
        """Takes one receipt, at once: the job waits."""
        ...


def execute(job: Job, console: Console) -> Outcome:
    """Runs what is missing of a bound job, and marks it complete.

    Raises:
        JobError: shards are missing after the last pass, more rows are quarantined than may be, or the cluster cannot
            be used.
        ConfigError: the cluster cannot hold the pool.
    """
    if is_outside(job.config):
        return in_cluster(execute, job, console)
    with traced_job(job.manifest.job_id, job.kind) as trace:
        outcome = _execute(job, console, trace)
        trace.done(outcome.tally.total, outcome.tally.shards)
    return outcome


def _execute(job: Job, console: Console, trace: JobTrace) -> Outcome:
    started = time.monotonic()
    committed = job.committed()
    before = committed.shards
    limit = job.config.quarantine_limit
    pending = PendingUnit.left(job.plan, committed)
    earlier = read_counts(job.parts, committed, job.chunk is not None) if pending else None
    rows_before = earlier.total if earlier else 0
    progress = Progress(console, before, job.plan.expected_shards, job.plan.row_estimate, rows_before)
    observer = RunObserver(job, progress.tally, before)
    try:
        if earlier is not None:
            remove_success(job.store)
            if job.model.runtime is not None:
                console.print(f"runtime: {job.model.runtime}")
            elif job.config.model.precision == "fast" or not job.model.precision.is_exact:
                console.print(f"precision: {job.model.precision}")
            console.print("starting Ray and the model ...")
            watchers: list[Watcher] = [progress, observer, _DeviceWatch()]
            if limit is not None:
                watchers.append(_Guard(limit, earlier, job.plan.exact_rows))
            with connected_for(job.config), progress.shown(), ExitStack() as watching:
                warn = _Teller(progress, observer).warn
                watch = watch_of(job, pending, warn)
                if watch is not None:
                    watch.begin()
                    watching.enter_context(watch.running())
                refused = refused_by(watch)
                resources, nodes = cluster_size(refused)
                pool = pool_of(job, resources, nodes, refused, warn)
                observer.begin(pool, resources, nodes)
                stages = make_stages(job, pool, trace=trace.context)
                _Run(job, pool, stages, progress, observer, watchers, watch).to_the_end(pending)
                trace.spare_workers()
        observer.settle()
        committed = check_complete(job, progress.tally.reasons_of_failure())
        counts = read_counts(job.parts, committed, job.chunk is not None)
        _check_quarantine(job, counts)
    except BaseException as error:
        observer.fail(error)
        raise
    outcome = Outcome(
        progress.tally,
        counts,
        before,
        time.monotonic() - started,
        progress.final_rate(),
        job.config.poison_exit_code,
    )
    if pending or not exists(job.store.fs, job.store.path(REPORT_JSON)):
        observer.end(outcome.counts)
    if not has_success(job.store):
        job.parts.finish(_summary(job, outcome, committed.shards))
    return outcome


def _check_quarantine(job: Job, counts: RowCounts) -> None:
    """Raises JobError where a complete job has too many rows in quarantine; it has no mark of success then."""
    limit = job.config.quarantine_limit
    try:
        if limit is not None:
            limit.check(counts)
    except JobError:
        # An earlier run may have been allowed more.
        remove_success(job.store)
        raise


@dataclass(frozen=True)
class _Teller:
    """Tells of what concerns the run and is no failure of it."""

    progress: Progress
    observer: RunObserver

    def warn(self, text: str) -> None:
        self.progress.note(f"warning: {text}", is_failure=False)
        self.observer.note(text)


@dataclass(frozen=True)
class _Run:
    """The passes of one run."""

    job: Job
    pool: ActorPool
    stages: StageList
    progress: Progress
    observer: RunObserver
    watchers: Sequence[Watcher]
    watch: NodeWatch | None = None
    """Of the cluster's nodes; None where there is only this machine."""
    handed_back: set[ShardId] = field(default_factory=set)
    """Shards of the last pass that nobody has begun, since their actor's node went or may not compute."""

    def to_the_end(self, pending: list[PendingUnit]) -> None:
        """Passes over what is missing while that helps; then the search for the rows that break what still fails."""
        passes = 0
        while pending and passes < self.job.config.ray.passes:
            before = self.progress.tally.shards
            is_cut = not self._one_pass(pending) or bool(self.handed_back)
            pending = PendingUnit.left(self.job.plan, self.job.committed())
            if pending:
                if self.watch is not None and not self.handed_back:
                    self.watch.look_again()
                # What a service that is gone could not do must not be put down to shards.
                shared_replicas(self.job.config.pool, self.job.model.fingerprint, self.job.runtime)
            # A pass that was cut short while it got on does not count: the next one goes on.
            passes += 0 if is_cut and self.progress.tally.shards > before else 1
        suspects = [unit for unit in pending if self._is_suspect_unit(unit)]
        if suspects:
            self._search(suspects)

    def _one_pass(self, pending: list[PendingUnit]) -> bool:
        """True when it came to its end."""
        self.handed_back.clear()
        try:
            with closing(receipts(build(self._placed_stages(), pending))) as stream:
                for receipt in stream:
                    self._add(receipt)
                    if self._is_of_refused_writer(receipt):
                        text = f"{receipt.node} joined and cannot write, so this round ends; the next one leaves it out"
                        self.progress.note(text, is_failure=False)
                        self.observer.note(text)
                        return False
        except SpanmillError:
            raise
        except Exception as error:  # Ray Data wraps what breaks down in several kinds, not all of them RayErrors
            kind = "" if isinstance(error, WorkLost) else f"{type(error).__name__}: "
            text = kind + last_line(error)
            self.progress.note(text)
            self.observer.note(text)
            return False
        finally:
            self._tell_of_handed_back()
        return True

    def _placed_stages(self) -> StageList:
        """The stages, away from the nodes that are refused; raises JobError where no other is left."""
        if self.watch is not None:
            self.watch.check_some_left()
        return replace(self.stages, placement=away_from(refused_by(self.watch)))

    def _tell_of_handed_back(self) -> None:
        if self.handed_back:
            count = counted(len(self.handed_back), "shard")
            text = f"{count} came back uncomputed from nodes that go or may not compute; the next round does them"
            self.progress.note(text, is_failure=False)
            self.observer.note(text)

    def _add(self, receipt: Receipt) -> None:
        if receipt.handed_back:
            self.handed_back.add(receipt.shard)
            return
        for watcher in self.watchers:
            watcher.add(receipt)
        if self._is_for_good(receipt) and not self._is_of_refused_writer(receipt):
            # Every other shard would be computed for nothing.
            raise JobError(f"{receipt.error} What is committed stays.")

    def _is_for_good(self, receipt: Receipt) -> bool:
        # What cannot be read concerns its own unit alone.
        return receipt.permanent and receipt.failed_in != self.stages.read.name

    def _is_of_refused_writer(self, receipt: Receipt) -> bool:
        """Whether a node could not write that may do nothing at all: one that joined while the round ran."""
        is_lost = receipt.permanent and receipt.failed_in == self.stages.write.name
        return is_lost and self.watch is not None and self.watch.refuses(receipt.node)

    def _is_suspect_unit(self, pending: PendingUnit) -> bool:
        """Whether something else than a store failed in a unit; a shard without a receipt was lost with its worker."""
        failures = self.progress.tally.failures_in(pending.unit.index)
        return not failures or any(self.stages.is_compute(receipt.failed_in) for receipt in failures)

    def _is_suspect(self, shard: ShardId) -> bool:
        failure = self.progress.tally.failures.get((shard.unit, shard.number))
        return failure is None or failure.failed_in != self.stages.write.name

    def _search(self, pending: list[PendingUnit]) -> None:
        self.progress.note("shards are lost or fail every time: trying them one by one", is_failure=False)
        search = PoisonRowSearch(
            self._placed_stages(), self.pool, lambda text: self.progress.note(text, is_failure=False)
        )
        try:
            for receipt in search.receipts(pending, self._is_suspect):
                self._add(receipt)
        finally:
            search.close()


@dataclass
class _Guard:
    """Ends the job as soon as it has too many bad rows for what is to come to make up for."""

    limit: QuarantineLimit
    counts: RowCounts
    rows: int | None
    """Of the whole corpus; None where only its end will tell."""

    def add(self, receipt: Receipt) -> None:
        self.counts = self.counts.plus(receipt)
        can_tell = self.rows is not None or self.limit.count is not None
        if can_tell and self.limit.is_passed(self.counts.quarantined, self.rows or 0):
            raise JobError(self.limit.complaint(self.counts))


@dataclass
class _DeviceWatch:
    """Ends the job where devices are lost at one shard after the other, and nothing is computed in between."""

    lost: set[ShardId] = field(default_factory=set)
    """Shards since the last one that was committed."""

    def add(self, receipt: Receipt) -> None:
        if not receipt.failed_in:
            self.lost.clear()
        elif receipt.device_lost:
            self.lost.add(receipt.shard)
            if len(self.lost) >= _MOST_LOST_SHARDS:
                raise JobError(
                    f"{receipt.error}. This happened at {len(self.lost)} shards in a row, in a new process each time. "
                    "What is committed stays; see to the machine's device (`nvidia-smi`, `dmesg`) and its driver, or "
                    "try another model.device, model.precision or model.backend, and run the same command again"
                )


def _summary(job: Job, outcome: Outcome, shards: int) -> dict[str, object]:
    return {
        "job": job.manifest.job_id,
        "shards": shards,
        **outcome.counts.by_name(),
        "last_run": {
            "input_rows": outcome.tally.total,
            "written_rows": outcome.tally.rows,
            "quarantined": outcome.tally.quarantined,
            **({} if outcome.counts.chunks is None else {"written_chunks": outcome.tally.chunks}),
            "seconds": round(outcome.seconds, 3),
        },
    }
