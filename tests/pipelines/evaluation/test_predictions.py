"""Predictions by a job: what goes into it and what is read from its parts. The job itself is in test_evaluate."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.engine.inference_task import Wanted
from actors.parameters import QAParameters
from pipelines.config.job import AnswerConfig, OutputParameters
from pipelines.config.loader import load_config
from pipelines.evaluation.evaluator import PREDICTION_SCHEMA
from pipelines.evaluation.predictions import _aligned, _job_config, _write_corpus
from pipelines.schemas import output_schema

PARTS = pa.Table.from_pylist(
    [
        {"id": "3", "answer": "weir", "score": 0.5, "null_score": 0.5},
        {"id": "0", "answer": "rye", "score": 0.6, "null_score": 0.2},
        {"id": "4", "answer": "Bo", "score": 0.0, "null_score": 0.0},
        {"id": "1", "answer": "oats", "score": 0.1, "null_score": 0.9},
    ],
    output_schema(pa.schema([]), Wanted(QAParameters(null_score=True)), 8),
)


def test_predictions_stand_beside_their_examples() -> None:
    found = _aligned(PARTS, 5, may_abstain=True)
    assert found.schema == PREDICTION_SCHEMA
    # Row 2 is quarantined. Only what is above one half abstains, so rows 3 and 4 answer.
    assert found["answer"].to_pylist() == ["rye", "oats", None, "weir", "Bo"]
    assert found["no_answer"].to_pylist() == pytest.approx([0.25, 0.9, 1.0, 0.5, 0.5])


def test_predictions_without_abstaining() -> None:
    found = _aligned(PARTS.drop_columns(["null_score"]), 5, may_abstain=False)
    assert found.to_pydict() == {"answer": ["rye", "oats", None, "weir", "Bo"], "no_answer": [None] * 5}


def test_the_job_is_the_users_but_for_what_judging_needs() -> None:
    words = ["qa.top_k=5", "qa.max_answer_len=30", "corpus.columns.question=q", "corpus.carry=[x]", "pool.size=2"]
    words += ["embedding={}", "output.format=jsonl", "corpus.storage={key: in}", "output.storage={key: out}"]
    config = load_config(AnswerConfig, None, [*words, "corpus.shard_rows=7"])
    expected = ["qa.max_answer_len=30", "pool.size=2", "corpus.shard_rows=7", "qa.null_score=true"]
    storage = ["corpus.storage={key: out}", "output.storage={key: out}"]
    assert _job_config(config, may_abstain=True) == load_config(AnswerConfig, None, [*expected, *storage])
    assert not _job_config(config, may_abstain=False).qa.null_score


def test_a_corpus_that_is_there_stays_untouched(tmp_path: Path) -> None:
    examples = pa.table({"question": ["q", "q"], "context": ["c", "d"], "answer_texts": [["c"], []]})
    path = Path(_write_corpus(examples, str(tmp_path), OutputParameters()))
    assert pq.read_table(path).to_pydict() == {"id": ["0", "1"], "question": ["q", "q"], "context": ["c", "d"]}
    before = path.stat().st_mtime_ns
    assert _write_corpus(examples, f"{tmp_path}/", OutputParameters()) == str(path)
    assert path.stat().st_mtime_ns == before
    assert _write_corpus(examples.slice(1), str(tmp_path), OutputParameters()) != str(path)
