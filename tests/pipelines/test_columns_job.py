"""A whole job with every column that there is, from the rows of a file to its parts."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.engine.output_columns import to_table, wanted_columns
from actors.models.loading import load_engine
from actors.parameters import BatchingParameters, ModelParameters
from actors.tokenization.preprocess import prepare_pairs
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.job.finished_job import find_finished
from pipelines.job.job import find_places
from tests.actors.helpers import GOLDEN, strings
from tests.pipelines.jobs import mixed_rows, parts, run_job, write_jsonl

pytestmark = pytest.mark.usefixtures("cluster")

MODEL = GOLDEN / "models" / "distilbert"
WORDS = (
    "output.columns=[answers,embedding,tokens,token_vectors,hidden,attention,attribution]",
    "token_vectors.layers=[0,2]",
    "attention.top=2",
    "qa.handle_impossible_answer=true",
    "corpus.shard_rows=4",
)


def test_a_job_writes_what_the_engine_gives(tmp_path: Path) -> None:
    rows = mixed_rows(8)
    bad = {"id": "mute", "question": "Who?", "context": "\u200b\u200b"}
    corpus = write_jsonl(tmp_path / "rows.jsonl", [*rows, bad])
    ran = run_job([corpus], tmp_path / "out", MODEL, *WORDS)
    assert (ran.outcome.exit_code, ran.outcome.counts.rows, ran.outcome.counts.quarantined) == (0, 8, 1), ran.log

    tables = [pq.read_table(part) for part in parts(tmp_path / "out")]
    assert [len(table) for table in tables] == [4, 4, 0]
    assert all(table.schema.remove_metadata() == ran.job.schema for table in tables)
    wanted = ran.job.task
    engine = load_engine(MODEL, ModelParameters(device="cpu", threads=1), BatchingParameters(), True)
    questions, contexts = (strings([row[name] for row in rows]) for name in ("question", "context"))
    assert wanted.qa is not None
    prepared, _ = prepare_pairs(engine.spec, wanted.qa, questions, contexts, keep_texts=True)
    expected = to_table(wanted_columns(wanted), engine.finish(engine.begin(prepared, wanted)), wanted)
    found = pa.concat_tables(tables)
    assert found["id"].to_pylist() == [row["id"] for row in rows]
    for name in expected.column_names:
        assert _near(found[name].to_pylist(), expected[name].to_pylist()), name

    config = load_config(AnswerConfig, None, [f"model.name={MODEL}", "model.threads=1", *WORDS])
    again = find_finished(find_places([str(corpus)], str(tmp_path / "out"), config), config, None)
    assert again is not None, "known as done without the model"
    assert again.rows == 8


def _near(found: object, expected: object) -> bool:
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_near(found[key], expected[key]) for key in found)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_near, found, expected))
    if isinstance(found, float) and isinstance(expected, float):
        return abs(found - expected) <= 1e-5
    return found == expected
