"""Observation of a run: its receipts are stored, logged and counted, and reported when the run ends or fails."""

import logging
from collections.abc import Mapping
from dataclasses import asdict

from pipelines.errors import SpanmillError
from pipelines.job.job import Job
from pipelines.job.pool_size import ActorPool
from pipelines.job.ray_cluster import metrics_endpoint
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import ReceiptLog
from pipelines.output.row_counts import RowCounts, read_counts
from pipelines.reporting.json_log import JsonLog
from pipelines.reporting.progress import Tally
from pipelines.reporting.prometheus import Metrics
from pipelines.reporting.report_builder import RunCluster, write_report
from pipelines.storage.url import redact


class RunObserver:
    """Receipt log, JSON log, metrics and report of one run.

    It knows what each of them records when a run begins, ends or fails, so that the executor knows none of them.
    """

    def __init__(self, job: Job, tally: Tally, shards_before: int) -> None:
        """Takes the tally of the run, which must count every receipt before `add` does."""
        self._job = job
        self._tally = tally
        self._cluster: RunCluster | None = None
        self._receipt_log = ReceiptLog(job.parts)
        self._log = JsonLog(job.manifest.job8)
        self._metrics = Metrics(job.manifest.job8, tally, shards_before, job.plan.expected_shards)

    def begin(self, pool: ActorPool, resources: Mapping[str, float], nodes: int) -> None:
        """Logs the start of a run, once Ray runs and the pool is planned."""
        self._cluster = RunCluster(nodes, resources, pool)
        self._log.log(
            "run began",
            kind=self._job.kind,
            model=self._job.model.fingerprint,
            precision=self._job.model.precision.dtype,
            precision_because=self._job.model.precision.reason,
            output=str(self._job.store.url),
            nodes=nodes,
            actors=pool.size,
            metrics=metrics_endpoint(),
        )
        runtime = self._job.model.runtime
        if runtime is not None:
            self._log.log(
                "runtime chosen",
                backend=runtime.backend,
                dtype=runtime.dtype,
                because=runtime.reason,
                side_by_side=runtime.actors,
                threads=pool.threads,
                measuring_seconds=runtime.seconds,
                most_seconds=runtime.most_seconds,
                windows=runtime.windows,
                measurements=[asdict(one) for one in runtime.measurements],
            )
        for line in self._job.left_out:
            self._log.log("note", text=line)

    def add(self, receipt: Receipt) -> None:
        """Stores, logs and counts one receipt."""
        for sink in (self._receipt_log, self._log, self._metrics):
            sink.add(receipt)

    def note(self, text: str) -> None:
        """Logs a warning that concerns the run and not a single shard."""
        self._log.log("note", logging.WARNING, text=redact(text))

    def settle(self) -> None:
        """Writes the receipts that are still buffered, so that `read_counts` finds all of them."""
        self._receipt_log.write()

    def end(self, counts: RowCounts) -> None:
        """Reports a complete job, with the counts of all its runs."""
        self._report(counts, complete=True)
        self._log.log("job complete", logging.INFO, **counts.by_name())

    def fail(self, error: BaseException) -> None:
        """Logs why a run ended early, and reports what is committed so far."""
        self.settle()
        if not isinstance(error, Exception):
            # Ctrl-C or SIGTERM, which is no failure. Do not make the user wait for a report.
            self._log.log("run stopped", logging.WARNING)
            return
        self._log.log("run failed", logging.ERROR, error=redact(f"{type(error).__name__}: {error}"))
        if self._cluster is None:
            return
        try:
            counts = read_counts(self._job.parts, self._job.committed(), self._job.chunk is not None)
        except SpanmillError:
            return  # the error that ended the run is raised anyway
        self._report(counts, complete=False)

    def _report(self, counts: RowCounts, complete: bool) -> None:
        write_report(self._job, self._cluster, self._tally, counts, complete)
