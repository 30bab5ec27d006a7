"""What is said of a job as a whole."""

from pathlib import Path

import orjson

from pipelines.view.catalog import Catalog
from pipelines.view.figures import job_figures, output_summary
from tests.pipelines.view.outputs import TOWNS, write_output


def test_the_summary_of_an_output(catalog: Catalog) -> None:
    found = output_summary(catalog.outputs[0])
    assert (found["name"], found["kind"], found["complete"], found["shards"]) == ("out", "answer", True, 3)
    assert [(column["name"], column["kind"]) for column in found["columns"][:3]] == [
        ("id", "text"),
        ("title", "text"),
        ("year", "number"),
    ]
    assert found["roles"] == {"question": "question", "context": "context"}
    assert not found["report"]
    orjson.dumps(found)


def test_counts_come_from_the_receipts(catalog: Catalog) -> None:
    found = job_figures(catalog.outputs[0].output)
    assert (found["input_rows"], found["rows"], found["answered"], found["quarantined"]) == (6, 5, 4, 1)
    assert found["reasons"] == {"empty_question": 1}
    assert found["scores"] == [], "of five answers a histogram says nothing"
    assert found["manifest"]["files"] == 1
    assert found["report"]["made"] is None


def test_a_report_adds_what_its_run_measured(tmp_path: Path) -> None:
    rows = [{**TOWNS[0], "id": f"r{n}"} for n in range(30)]
    output = write_output(tmp_path / "out", rows, {f"r{n}": ("Ada", n / 30) for n in range(30)}, folder=tmp_path)
    (tmp_path / "out" / "_report.json").write_text('{"made": "2026-01-01", "totals": {"rows_per_second": 9.5}}')
    found = job_figures(output)
    assert found["report"]["totals"] == {"rows_per_second": 9.5}
    assert sum(found["scores"]) == 30
    assert len(found["scores"]) == 20
