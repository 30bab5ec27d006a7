"""Builds the report of a job and writes it beside the parts: `_report.json` and `_report.html`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from actors.errors import escape_surrogates
from actors.models.runtime_choice import RuntimeChoice
from pipelines.config.job import OfflineConfig
from pipelines.errors import SpanmillError
from pipelines.job.job import Job
from pipelines.job.pool_size import ActorPool
from pipelines.output.agreement import RowAgreement
from pipelines.output.manifest import flat_keys
from pipelines.output.parts import REPORT_HTML, REPORT_JSON
from pipelines.output.row_counts import RowCounts
from pipelines.reporting.html import render
from pipelines.reporting.progress import Tally
from pipelines.reporting.quarantine_samples import quarantine_samples
from pipelines.reporting.receipt_stats import PassTotals, nodes, runs, scores, slowest
from pipelines.reporting.report_model import (
    Agreement,
    Failure,
    LengthFigures,
    Machines,
    MisfitValues,
    QuarantinedRows,
    QuarantineSample,
    Report,
    RuntimeTable,
    Subject,
    Totals,
)
from pipelines.reporting.row_examples import answers, neighbours, samples_of
from pipelines.reporting.throughput_curve import ThroughputCurve, throughput_curve
from pipelines.rows.misfits import mend
from pipelines.storage.filesystem import write_atomic
from pipelines.storage.url import Url, redact

_MOST_FAILURES = 50
_PACKAGES = ("spanmill", "ray", "torch", "transformers", "pyarrow")
# fsspec options may hold credentials.
_SECRET = {group: {"storage"} for group in ("model", "corpus", "output")}
_ACCELERATOR = "accelerator_type:"
_LOG = logging.getLogger("spanmill.report")


@dataclass(frozen=True)
class RunCluster:
    """The cluster of one run, and the actor pool on it."""

    nodes: int
    resources: Mapping[str, float]
    """Ray's names and amounts of the whole cluster."""
    pool: ActorPool


def write_report(job: Job, cluster: RunCluster | None, tally: Tally, counts: RowCounts, complete: bool) -> None:
    """Writes both files. An error in the report or its store is logged as a warning and does not fail the job."""
    try:
        report = make_report(job, cluster, tally, counts, complete)
        data = orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
        write_atomic(job.store.fs, job.store.path(REPORT_JSON), data)
        write_atomic(job.store.fs, job.store.path(REPORT_HTML), render(report).encode())
    except Exception as error:
        expected = isinstance(error, SpanmillError)
        fields = {"job": job.manifest.job8, "error": str(error)}
        _LOG.warning("report not written: %s", error, exc_info=not expected, extra=fields)


def make_report(job: Job, cluster: RunCluster | None, tally: Tally, counts: RowCounts, complete: bool) -> Report:
    """The report of a job as it stands.

    Args:
        tally: of the last run.
    """
    receipts = counts.receipts
    samples = samples_of(receipts)
    passes = PassTotals.of(receipts)
    curve = throughput_curve(receipts, passes.tokens)
    milliseconds = sorted(passes.total.milliseconds.items())
    return Report(
        version=2,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        complete=complete,
        subject=_subject(job),
        machines=None if cluster is None else _machines(cluster),
        totals=_totals(job, counts, passes, curve),
        answers=answers(samples),
        neighbours=neighbours(samples),
        agreement=_agreement(job, receipts),
        runtime=_runtime(job),
        speed=curve,
        buckets=[
            LengthFigures(width, b.windows, b.passes, b.windows / b.passes, b.tokens, b.padding, round(b.seconds, 3))
            for width, b in sorted(passes.total.buckets.items())
        ],
        pass_milliseconds={str(limit): count for limit, count in milliseconds},
        scores=scores(receipts),
        slowest=slowest(receipts, passes.tokens),
        quarantine=_quarantine(job, counts),
        misfits=[
            MisfitValues(column, outcome, rows, mend(column, outcome))
            for (column, outcome), rows in sorted(counts.misfits.items())
        ],
        runs=runs(receipts),
        nodes=nodes(receipts, passes),
        failures=[
            Failure(
                f"{unit:05d}-{number:05d}", receipt.file, receipt.failed_in, redact(escape_surrogates(receipt.error))
            )
            for (unit, number), receipt in sorted(tally.failures.items())[:_MOST_FAILURES]
        ],
        mishaps=[redact(escape_surrogates(text)) for text in tally.mishaps[:_MOST_FAILURES]],
        store_errors=tally.store_errors,
    )


def _subject(job: Job) -> Subject:
    manifest, plan = job.manifest, job.plan
    return Subject(
        kind=job.kind,
        job=manifest.job_id,
        created=manifest.created,
        output=str(job.store.url),
        model=job.model_name,
        fingerprint=manifest.model,
        backend=manifest.backend,
        files=len(plan.files),
        bytes=sum(file.size for file in plan.files),
        units=len(plan.units),
        shard_rows=plan.layout.shard_rows,
        config=_keys(job.config, exclude_defaults=False),
        changed=flat_keys(_keys(job.config, exclude_defaults=True)),
        versions={name: version(name) for name in _PACKAGES},
    )


def _agreement(job: Job, receipts: pa.Table) -> Agreement | None:
    texts = receipts["agreement"].filter(pc.greater(pc.binary_length(receipts["agreement"]), 0)).to_pylist()
    found = RowAgreement.joined([RowAgreement.from_json(text) for text in texts])
    if not found.rows:
        return None

    def figure(values: Sequence[float], percent: int | None = None) -> float | None:
        if not values:
            return None
        return round(float(np.mean(values) if percent is None else np.percentile(values, percent)), 6)

    return Agreement(
        precision=job.model.precision.dtype,
        rows=found.rows,
        equal_spans=figure(found.equal_spans),
        score_difference=figure(found.score_differences),
        score_difference_p95=figure(found.score_differences, 95),
        cosine=figure(found.cosines),
        cosine_p5=figure(found.cosines, 5),
    )


def _runtime(job: Job) -> RuntimeTable | None:
    if job.manifest.runtime is None:
        return None
    choice = RuntimeChoice.from_json(job.manifest.runtime)
    return RuntimeTable(
        str(choice.candidate),
        redact(escape_surrogates(choice.reason)),
        choice.actors,
        choice.seconds,
        choice.most_seconds,
        choice.windows,
        [replace(one, verdict=redact(escape_surrogates(one.verdict))) for one in choice.measurements],
    )


def _keys(config: OfflineConfig, exclude_defaults: bool) -> dict[str, Any]:
    keys = config.model_dump(mode="json", exclude=_SECRET, exclude_defaults=exclude_defaults)
    if "name" in keys.get("model", {}):
        keys["model"]["name"] = str(Url(keys["model"]["name"]))
    return keys


def _machines(cluster: RunCluster) -> Machines:
    names = (name for name in cluster.resources if name.startswith(_ACCELERATOR))
    return Machines(
        nodes=cluster.nodes,
        cpus=cluster.resources.get("CPU", 0.0),
        gpus=cluster.resources.get("GPU", 0.0),
        accelerators=sorted(name.removeprefix(_ACCELERATOR) for name in names),
        actors=cluster.pool.size,
        most_actors=cluster.pool.max_size,
        cpus_per_actor=cluster.pool.cpus,
        gpus_per_actor=cluster.pool.gpus,
        threads_per_actor=cluster.pool.threads,
    )


def _totals(job: Job, counts: RowCounts, passes: PassTotals, curve: ThroughputCurve) -> Totals:
    receipts, total = counts.receipts, passes.total.total
    shards = len(receipts) + counts.without_receipt
    seconds = curve.seconds_per_point * len(curve.rows)
    with_receipt = _sum(receipts, "rows") + _sum(receipts, "quarantined")
    return Totals(
        shards=shards,
        shards_expected=max(job.plan.expected_shards, shards),
        without_receipt=counts.without_receipt,
        input_rows=counts.total,
        written_rows=counts.rows,
        answered=_sum(receipts, "answered"),
        quarantined=counts.quarantined,
        bytes=_sum(receipts, "bytes"),
        store_errors=_sum(receipts, "store_errors"),
        windows=total.windows,
        tokens=total.tokens,
        padding=total.padding,
        passes=total.passes,
        model_seconds=round(total.seconds, 3),
        out_of_memory=passes.total.out_of_memory,
        work_seconds=round(seconds, 3),
        rows_per_second=round(with_receipt / seconds, 3) if seconds else 0.0,
        written_chunks=counts.chunks,
    )


def _sum(receipts: pa.Table, name: str) -> int:
    return int(pc.sum(receipts[name]).as_py() or 0)


def _quarantine(job: Job, counts: RowCounts) -> list[QuarantinedRows]:
    """The most frequent reason first."""
    found: dict[str, list[QuarantineSample]] = {reason: [] for reason, _ in counts.reasons.most_common()}
    for row in quarantine_samples(job.parts, counts).to_pylist():
        found.setdefault(row.pop("reason"), []).append(QuarantineSample(**row))
    return [QuarantinedRows(reason, counts.reasons[reason], examples) for reason, examples in found.items()]
