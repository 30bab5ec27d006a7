"""The figures of an evaluation, as tables and as JSON."""

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from rich.console import Console
from rich.table import Table

from pipelines.console import Pairs
from pipelines.corpus.source_file import SourceFile
from pipelines.evaluation.breakdown import breakdown
from pipelines.evaluation.evaluator import PREDICTION_SCHEMA, evaluate_predictions
from pipelines.evaluation.predictions import JobPredictions
from pipelines.evaluation.squad import EXAMPLE_SCHEMA, Examples, InvalidReason, SkippedRows
from pipelines.evaluation.tables import Evaluation, group_table, report_of, totals_table
from pipelines.execution.outcome import Outcome
from pipelines.output.receipt import RECEIPT_SCHEMA
from pipelines.output.row_counts import RowCounts
from pipelines.reporting.progress import Tally
from pipelines.storage.url import Url
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl

FILE = SourceFile(Url("https://me:hush@host/a.jsonl?X-Amz-Signature=hush"), "a.jsonl", 7, "v1", "jsonl", None)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, untrained_model: Path) -> Any:
    """An evaluation of answers to two questions, of which the passage may answer the second or not."""
    folder = tmp_path_factory.mktemp("job")
    job = make_job([write_jsonl(folder / "a.jsonl", qa_rows(2))], folder / "out", untrained_model)

    def evaluation(gold: list[list[str]], answers: list[str], no_answer: list[float | None]) -> Evaluation:
        rows = [
            {"id": row["id"], "question": row["question"], "context": row["context"], "answer_texts": texts}
            | {"answer_starts": [0] * len(texts), "source": None}
            for row, texts in zip(qa_rows(2), gold, strict=True)
        ]
        examples = pa.Table.from_pylist(rows, EXAMPLE_SCHEMA)
        read = Examples(examples, (FILE,), (SkippedRows(InvalidReason.NO_QUESTION, 1234, ("a.jsonl@3",)),), 2)
        counts = RowCounts(1, 1, Counter(no_tokens=1), RECEIPT_SCHEMA.empty_table(), 0)
        predictions = pa.table([answers, no_answer], schema=PREDICTION_SCHEMA)
        predicted = JobPredictions(predictions, job, Outcome(Tally(rows=1), counts, 0, 1.5, 20.0))
        scores = evaluate_predictions(examples, predictions)
        return Evaluation(read, 2, None, predicted, scores, breakdown(examples, scores.rows))

    return evaluation


def _lines(table: Table | Pairs) -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        table.print_to(console) if isinstance(table, Pairs) else console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_answerable_rows_alone(make: Any) -> None:
    evaluation = make([["0"], ["number 1"]], ["0", "1"], [None, None])
    assert _lines(totals_table(evaluation))[:6] == [
        "rows 2",
        "left out 1,234 rows of the data",
        "quarantined 1 row, judged as if the answer were empty",
        "EM answerable 50.0 of 2 rows",
        "F1 answerable 83.3 of 2 rows",
        "rows/s 20.0",
    ]
    assert _lines(group_table(evaluation)) == [
        "by group answerable EM F1",
        "answer 1 word 1 100.0 100.0",
        "2-3 words 1 0.0 66.7",
        "passage < 100 words 2 50.0 83.3",
        "question who 2 50.0 83.3",
    ]


def test_abstaining(make: Any) -> None:
    evaluation = make([["0"], []], ["0", "1"], [0.7, 0.8])
    assert _lines(totals_table(evaluation))[3:11] == [
        "EM answerable 100.0 of 1 row",
        "F1 answerable 100.0 of 1 row",
        "EM abstaining 50.0 of 2 rows",
        "F1 abstaining 50.0 of 2 rows",
        "answerable EM 0.0 F1 0.0",
        "unanswerable 100.0 of 1 row",
        "best EM 100.0 abstaining above 0.700 instead of 0.5",
        "best F1 100.0 abstaining above 0.700 instead of 0.5",
    ]
    assert _lines(group_table(evaluation))[:3] == [
        "by group answerable EM F1 all EM abst. F1 abst.",
        "answer no answer 0 - - 1 100.0 100.0",
        "1 word 1 100.0 100.0 1 0.0 0.0",
    ]


def test_the_report_is_json_without_nan(make: Any) -> None:
    report = orjson.loads(orjson.dumps(report_of(make([[], []], ["", "1"], [1.0, 0.0]))))
    assert report["answerable"] == {"rows": 0, "em": None, "f1": None}
    assert report["abstaining"]["unanswerable"] == {"rows": 2, "em": 50.0, "f1": 50.0}
    assert report["abstaining"]["best_em"] == {"score": 100.0, "threshold": 0.0}
    assert report["data"] == {
        "files": [{"name": "a.jsonl", "url": "https://host/a.jsonl", "bytes": 7, "version": "v1"}],
        "left_out": [{"flaw": "no question", "rows": 1234, "places": ["a.jsonl@3"]}],
        "answers_dropped": 2,
    }
    assert report["quarantined"] == {"rows": 1, "reasons": {"no_tokens": 1}}
    assert set(report["settings"]) == {"qa", "model", "limit"}
    assert report["settings"]["model"] == {
        "backend": "torch",
        "precision": "auto",
        "dtype": "float32",
        "device": "auto",
    }
    assert report["rows_per_second"] == 20.0
