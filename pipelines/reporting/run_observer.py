"""Who watches a run: its receipts are kept, logged and counted, and at its end become a report."""

import logging
from collections.abc import Mapping

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
    """Ledger, journal, metrics and report of one run."""

    def __init__(self, job: Job, tally: Tally, shards_before: int) -> None:
        """Takes the tally that counts every receipt before it comes here."""
        self._job = job
        self._tally = tally
        self._place: RunCluster | None = None
        self._ledger = ReceiptLog(job.parts)
        self._journal = JsonLog(job.manifest.job8)
        self._metrics = Metrics(job.manifest.job8, tally, shards_before, job.plan.expected_shards)

    def begin(self, pool: ActorPool, resources: Mapping[str, float], nodes: int) -> None:
        """Ray is there, and the pool is planned."""
        self._place = RunCluster(nodes, resources, pool)
        self._journal.log(
            "run began",
            kind=self._job.kind,
            model=self._job.model.fingerprint,
            output=str(self._job.store.url),
            nodes=nodes,
            actors=pool.size,
            metrics=metrics_endpoint(),
        )

    def add(self, receipt: Receipt) -> None:
        """Takes one receipt."""
        for watcher in (self._ledger, self._journal, self._metrics):
            watcher.add(receipt)

    def note(self, text: str) -> None:
        """Takes what is not one shard's."""
        self._journal.log("note", logging.WARNING, text=redact(text))

    def settle(self) -> None:
        """No more receipts will come; now they can be read."""
        self._ledger.write()

    def end(self, counts: RowCounts) -> None:
        """Every shard is committed."""
        self._report(counts, complete=True)
        self._journal.log("job complete", rows=counts.rows, quarantined=counts.quarantined)

    def fail(self, error: BaseException) -> None:
        """The run ended before the job was complete."""
        self.settle()
        self._journal.log("run failed", logging.ERROR, error=redact(f"{type(error).__name__}: {error}"))
        # Whoever presses Ctrl-C waits for nothing more.
        if self._place is None or not isinstance(error, Exception):
            return
        try:
            counts = read_counts(self._job.parts, self._job.committed())
        except SpanmillError:
            return  # the error that ended the run says it all
        self._report(counts, complete=False)

    def _report(self, counts: RowCounts, complete: bool) -> None:
        write_report(self._job, self._place, self._tally, counts, complete)
