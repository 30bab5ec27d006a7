"""Metrics of a running job for Prometheus, exported by Ray: every node serves the metrics of its processes.

Ray puts `ray_` before each name and `_total` after those of counters. Rates, and ratios such as padding or the mean
batch, are computed by the query: `rate(ray_spanmill_tokens_total[5m])` by bucket, for example. A job behind `ray://`
exports nothing, because its driver is not a process of the cluster.
"""

from ray.util.metrics import Counter, Gauge, Histogram

from pipelines.output.receipt import Receipt
from pipelines.reporting.progress import Tally

PASS_SECONDS = tuple((1 << power) / 1000 for power in range(17))
"""Upper bounds of the histogram of pass times, 1 ms to 65.536 s: those of `PassStats.milliseconds`."""

_COUNTERS = {
    "rows": ("Input rows in committed parts.", ()),
    "chunks": ("Chunks in committed parts, each a row of them; none in a job that cuts no texts.", ()),
    "answered": ("Rows whose answer is not null; in an embedding job, all.", ()),
    "written_bytes": ("Size of the committed parts.", ()),
    "quarantined": ("Rows in quarantine.", ("reason",)),
    "passes": ("Forward passes, by the length of the longest window.", ("bucket",)),
    "windows": ("Windows computed, by the length of the longest window.", ("bucket",)),
    "tokens": ("Tokens computed, without padding, by the length of the longest window.", ("bucket",)),
    "padded_tokens": ("Tokens computed, with padding, by the length of the longest window.", ("bucket",)),
    "model_seconds": ("Time in forward passes, all actors together, by the length of the longest window.", ("bucket",)),
    "out_of_memory": ("Passes that did not fit and were halved.", ()),
    "retries": ("Shards that failed in a stage, to be tried again in the next round.", ("stage",)),
    "store_errors": ("Calls to a store that failed, tried again or not.", ()),
}


class Metrics:
    """Counts receipts as metrics; the gauges show a tally, which must have counted each receipt already."""

    def __init__(self, job8: str, tally: Tally, shards_before: int, shards_expected: int) -> None:
        """Starts all counters at zero: metrics describe one run, and the tag `job` names the job that it belongs to."""
        self._job = {"job": job8}
        self._tally = tally
        self._before = shards_before
        self._expected = shards_expected
        self._counters = {
            name: Counter(f"spanmill_{name}", text, ("job", *tags)) for name, (text, tags) in _COUNTERS.items()
        }
        self._pass_seconds = Histogram(
            "spanmill_pass_seconds", "Time of a forward pass.", list(PASS_SECONDS), tag_keys=("job",)
        )
        self._shards = Gauge(
            "spanmill_shards",
            "Shards: before, committed, found, failed (and not committed since), left.",
            ("job", "state"),
        )
        self._batch = Gauge("spanmill_batch_windows", "Mean windows of a pass so far.", ("job", "bucket"))
        # A job that waits for machines, or hangs in its first shard, is seen too.
        self._show_shards()

    def add(self, receipt: Receipt) -> None:
        """Counts one receipt."""
        self._count("store_errors", receipt.store_errors)
        if receipt.failed_in:
            self._count("retries", 1, stage=receipt.failed_in)
        else:
            self._count_work(receipt)
        self._show_shards()

    def _count_work(self, receipt: Receipt) -> None:
        self._count("rows", receipt.rows)
        self._count("chunks", receipt.chunks or 0)
        self._count("answered", receipt.answered)
        self._count("written_bytes", receipt.bytes)
        self._count("out_of_memory", receipt.stats.out_of_memory)
        for reason, rows in receipt.reasons.items():
            self._count("quarantined", rows, reason=str(reason))
        for width, bucket in receipt.stats.buckets.items():
            for name in ("passes", "windows", "tokens", "padded_tokens"):
                self._count(name, getattr(bucket, name), bucket=str(width))
            self._count("model_seconds", bucket.seconds, bucket=str(width))
        for width, size in self._tally.stats.batch_sizes().items():
            self._batch.set(size, {**self._job, "bucket": str(width)})
        for limit, passes in receipt.stats.milliseconds.items():
            # A pass took between half the limit and the limit.
            middle = 0.75 * limit / 1000
            for _ in range(passes):
                self._pass_seconds.observe(middle, self._job)

    def _show_shards(self) -> None:
        tally = self._tally
        done = self._before + tally.shards + tally.found
        states = {
            "before": self._before,
            "committed": tally.shards,
            "found": tally.found,
            "failed": len(tally.failures),
            "left": max(self._expected - done, 0),
        }
        for state, shards in states.items():
            self._shards.set(shards, {**self._job, "state": state})

    def _count(self, name: str, amount: float, **tags: str) -> None:
        if amount > 0:
            self._counters[name].inc(amount, {**self._job, **tags})
