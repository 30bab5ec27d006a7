"""A job on a real local Ray as Prometheus sees it, and what else watches it: the log, the report, Ray's own logs."""

import logging
import os
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.config.job import RayParameters
from pipelines.errors import JobError
from pipelines.job.ray_cluster import connected, metrics_endpoint
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.reporting.json_log import logging_to
from pipelines.reporting.progress import Tally
from pipelines.reporting.prometheus import Metrics
from tests.pipelines.helpers import compressed, jsonl, qa_rows
from tests.pipelines.jobs import Ran, mixed_rows, run_job, write_jsonl
from tests.pipelines.processes import free_port

pytestmark = pytest.mark.ray

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

NAMES = ("input_rows", "written_rows", "answered", "quarantined")
BAD = [b'{"id": "cut', {"id": "null", "question": None, "context": "c"}, {"id": "no", "question": None, "context": "c"}]


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module", autouse=True)
def ray_with_metrics(port: int) -> Iterator[None]:
    """A cluster as a job would start it, but for how often Ray's processes report: by default every ten seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "300")
        with connected(RayParameters(object_store_mb=256, metrics_port=port)):
            yield


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, untrained_model: Path) -> Ran:
    folder = tmp_path_factory.mktemp("ran")
    corpus = write_jsonl(folder / "in.jsonl", [*mixed_rows(20), *BAD])
    with logging_to(folder / "log.jsonl"):
        return run_job([corpus], folder / "out", untrained_model, "corpus.shard_rows=8")


def _scrape(job: str) -> Samples:
    """The samples of a job by name and tags, without the tags that Ray adds."""
    with urllib.request.urlopen(metrics_endpoint(), timeout=60) as answer:
        text = answer.read().decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("job") == job and sample.name.startswith("ray_spanmill_"):
                tags = {
                    name: sample.labels[name]
                    for name in ("bucket", "reason", "state", "stage", "le")
                    if name in sample.labels
                }
                found[sample.name.removeprefix("ray_spanmill_"), frozenset(tags.items())] = sample.value
    return found


def _eventually(job: str, check: Callable[[Samples], None]) -> None:
    """Scrapes until the check passes, for minutes: Ray may report some metrics before others, and none at first."""
    deadline = time.monotonic() + 180
    while True:
        try:
            return check(_scrape(job))
        except (AssertionError, KeyError, OSError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _by(samples: Samples, name: str, tag: str) -> dict[str, float]:
    return {dict(tags)[tag]: value for (found, tags), value in samples.items() if found == name}


def test_what_prometheus_reads_is_the_tally(ran: Ran, port: int) -> None:
    assert metrics_endpoint().endswith(f":{port}/metrics")
    tally = ran.outcome.tally
    assert tally.answered == 20

    def check(samples: Samples) -> None:
        plain = {name: value for (name, tags), value in samples.items() if not tags}
        assert (plain["rows_total"], plain["answered_total"]) == (tally.rows, 20)
        assert _by(samples, "quarantined_total", "reason") == {"malformed_json": 1, "null_question": 2}
        states = {"before": 0, "committed": tally.shards, "found": 0, "failed": 0, "left": 0}
        assert _by(samples, "shards", "state") == states
        _check_passes(samples, tally.stats)

    _eventually(ran.job.manifest.job8, check)


def _check_passes(samples: Samples, stats: PassStats) -> None:
    for name in ("passes", "windows", "tokens", "padded_tokens"):
        expected = {str(width): getattr(bucket, name) for width, bucket in stats.buckets.items()}
        assert _by(samples, f"{name}_total", "bucket") == expected
    seconds = {str(width): pytest.approx(bucket.seconds) for width, bucket in stats.buckets.items()}
    assert _by(samples, "model_seconds_total", "bucket") == seconds
    sizes = {str(width): pytest.approx(size) for width, size in stats.batch_sizes().items()}
    assert _by(samples, "batch_windows", "bucket") == sizes
    below = _by(samples, "pass_seconds_bucket", "le")
    assert below["+Inf"] == samples["pass_seconds_count", frozenset()] == stats.total.passes
    for limit in (1, 16, 256, 4096):
        assert below[str(limit / 1000)] == sum(n for ms, n in stats.milliseconds.items() if ms <= limit)


def test_a_job_that_has_committed_nothing_yet_shows_what_is_left() -> None:
    metrics = Metrics("deadbeef", Tally(), 2, 10)  # Ray shows metrics for as long as somebody has them

    def check(samples: Samples) -> None:
        states = {dict(tags)["state"]: value for (name, tags), value in samples.items() if name == "shards"}
        assert states == {"before": 2, "committed": 0, "found": 0, "failed": 0, "left": 8}

    _eventually("deadbeef", check)
    del metrics


def test_what_fails_is_counted_by_stage_and_left() -> None:
    tally = Tally()
    metrics = Metrics("feedbeef", tally, 2, 10)
    halved = PassStats({64: LengthBucket(1, 2, 30, 40, 0.5)}, Counter({512: 1}), 3)
    for receipt in (
        Receipt(ShardId(0, 2, False), "a", failed_in="read", error="x", store_errors=8),
        Receipt(ShardId(0, 3, False), "a", failed_in="write", error="x", store_errors=1),
        Receipt(ShardId(0, 3, False), "a", failed_in="write", error="x"),
        Receipt(ShardId(0, 3, False), "a", rows=5, bytes=70, stats=halved),
        Receipt(ShardId(0, 4, False), "a", found=True),
    ):
        tally.add(receipt)
        metrics.add(receipt)

    def check(samples: Samples) -> None:
        plain = {name: value for (name, tags), value in samples.items() if not tags}
        assert (plain["rows_total"], plain["written_bytes_total"]) == (5, 70)
        assert (plain["store_errors_total"], plain["out_of_memory_total"]) == (9, 3)
        assert _by(samples, "retries_total", "stage") == {"read": 1, "write": 2}
        assert _by(samples, "shards", "state") == {"before": 2, "committed": 1, "found": 1, "failed": 1, "left": 6}

    _eventually("feedbeef", check)


def _log(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "log.jsonl").read_bytes().splitlines()]


def test_the_log_and_the_report_tell_of_the_same_job(ran: Ran) -> None:
    output = Path(ran.job.store.root)
    first, *shards, last = _log(output.parent)
    assert (first["event"], first["actors"], first["metrics"]) == ("run began", 1, metrics_endpoint())
    precision = ran.job.model.precision
    assert (first["precision"], first["precision_because"]) == (precision.dtype, precision.reason)
    assert [last[name] for name in ("event", *NAMES)] == ["job complete", 23, 20, 20, 3]
    assert {line["event"] for line in shards} == {"shard committed"}
    assert {line["job"] for line in (first, *shards, last)} == {ran.job.manifest.job8}
    assert [sum(line[name] for line in shards) for name in NAMES] == [23, 20, 20, 3]
    report = orjson.loads((output / "_report.json").read_bytes())
    assert (report["complete"], report["totals"]["without_receipt"]) == (True, 0)
    success = orjson.loads((output / "_SUCCESS").read_bytes())
    for counted in (report["totals"], success):
        assert [counted[name] for name in NAMES] == [23, 20, 20, 3]
    assert report["machines"]["nodes"] == 1
    assert report["totals"]["padding"] == ran.outcome.tally.stats.total.padding
    assert (output / "_report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_job_that_fails_has_a_report_too(tmp_path: Path, untrained_model: Path) -> None:
    write_jsonl(tmp_path / "in" / "a.jsonl", qa_rows(6))
    (tmp_path / "in" / "b.jsonl.gz").write_bytes(
        compressed(b"\n" * 100_000 + jsonl(qa_rows(60)), "gzip")[:-9] + bytes(9)
    )
    with logging_to(tmp_path / "log.jsonl"), pytest.raises(JobError, match="1 of 2 read units"):
        run_job([tmp_path / "in"], tmp_path / "out", untrained_model, "ray.passes=1")
    report = orjson.loads((tmp_path / "out" / "_report.json").read_bytes())
    assert (report["complete"], report["totals"]["input_rows"]) == (False, 6)
    [failure] = report["failures"]
    assert (failure["file"], failure["stage"]) == ("b.jsonl.gz", "read")
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    failed, end = (line for line in _log(tmp_path) if line["level"] != "INFO")
    assert (failed["event"], failed["file"], failed["error"]) == ("shard failed", "b.jsonl.gz", failure["error"])
    assert (end["event"], end["level"]) == ("run failed", "ERROR")


def test_warnings_of_workers_are_lines_of_json_in_rays_logs() -> None:
    def warn() -> str:
        logging.getLogger("spanmill.store").warning("%s: again", "s3://b", extra={"action": "reading", "attempt": 2})
        return os.readlink("/proc/self/fd/2")

    remote: Any = ray.remote(num_cpus=0)(warn)
    lines = Path(ray.get(remote.remote())).read_text().splitlines()
    # The worker may have run other tasks before, which warned of other things.
    records = [orjson.loads(line) for line in lines if line.startswith("{")]
    [record] = [record for record in records if record["name"] == "spanmill.store"]
    expected = {"levelname": "WARNING", "name": "spanmill.store", "message": "s3://b: again", "attempt": 2}
    assert expected.items() <= record.items()
    assert record["task_id"]
