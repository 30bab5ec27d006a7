"""What the page says of a job as a whole: its state, its counts, and the figures of its report."""

from typing import Any

from pipelines.output.parts import REPORT_HTML, REPORT_JSON, list_names
from pipelines.output.receipt import SCORE_BINS
from pipelines.output.row_counts import read_counts
from pipelines.reporting.receipt_stats import scores
from pipelines.rows.misfits import describe
from pipelines.storage.url import redact
from pipelines.view.catalog import OpenOutput
from pipelines.view.columns import PartColumns
from pipelines.view.job_output import JobOutput

_FEWEST_IN_HISTOGRAM = 20
"""Of fewer answers a histogram says nothing."""


def output_summary(opened: OpenOutput) -> dict[str, Any]:
    """What every view of the page needs to know of an output; no secret of its URL is in it."""
    output, plan = opened.output, opened.output.plan
    layout = plan.layout
    return {
        "url": str(output.store.url),
        "name": str(output.store.url).rstrip("/").rpartition("/")[2],
        "kind": output.manifest.kind,
        "job": output.manifest.job8,
        "created": output.manifest.created,
        "complete": opened.is_complete,
        "shards": len(opened.rows.shards),
        "expected_shards": max(plan.expected_shards, len(opened.rows.shards)),
        "columns": _columns(opened.rows.columns),
        "heavy": list(opened.rows.columns.heavy),
        "roles": dict(layout.roles),
        "carried": list(layout.carry.names),
        "quarantine_columns": _columns(opened.quarantine.columns),
        "report": REPORT_HTML in list_names(output.store),
    }


def job_figures(output: JobOutput) -> dict[str, Any]:
    """Counts from the receipts of the committed shards, and from `_report.json` what a run wrote at its end.

    Raises:
        StorageError: a receipt or a part cannot be read.
    """
    counts = read_counts(output.parts, output.parts.committed())
    found = scores(counts.receipts)
    report = output.document(REPORT_JSON) or {}
    return {
        "input_rows": counts.total,
        "rows": counts.rows,
        "answered": counts.answered if output.manifest.kind == "answer" else None,
        "quarantined": counts.quarantined,
        "reasons": dict(counts.reasons.most_common()),
        "misfits": [describe(column, outcome, rows) for (column, outcome), rows in sorted(counts.misfits.items())],
        "scores": list(found) if sum(found) >= _FEWEST_IN_HISTOGRAM and len(found) == SCORE_BINS else [],
        "manifest": _manifest(output),
        "report": {name: report.get(name) for name in ("made", "complete", "subject", "machines", "totals")},
    }


def _columns(columns: PartColumns) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "kind": column.kind,
            "sortable": column.kind not in ("nested", "bytes"),
            "searchable": bool(column.searched),
        }
        for column in columns.listed
    ]


def _manifest(output: JobOutput) -> dict[str, Any]:
    manifest, plan = output.manifest, output.plan
    return {
        "spanmill": manifest.spanmill,
        "created": manifest.created,
        "backend": manifest.backend,
        "fingerprint": manifest.model,
        "results": manifest.results,
        "files": len(plan.files),
        "bytes": sum(file.size for file in plan.files),
        "first_files": [redact(file.name) for file in plan.files[:5]],
        "shard_rows": plan.layout.shard_rows,
    }
