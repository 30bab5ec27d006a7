"""`spanmill.answer` and `spanmill.embed`, on a real local Ray."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import spanmill
from actors.parameters import QAParameters
from pipelines.errors import ConfigError
from tests.pipelines.jobs import bare_engine, mixed_rows, same_answer, write_jsonl

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.mark.parametrize("format", ["parquet", pytest.param("jsonl", marks=pytest.mark.more)])
def test_a_job_and_what_it_wrote(
    tmp_path: Path, untrained_model: Path, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    rows = mixed_rows(12)
    corpus = tmp_path / "in"
    corpus.mkdir()
    carried = [{**row, "n": "x" if number == 3 else number} for number, row in enumerate(rows)]
    write_jsonl(corpus / "in.jsonl", [*carried, {"id": "bad", "question": None, "context": "c"}])
    (corpus / "README.md").write_text("About it.")
    keys = {"shard_rows": 5, "carry": ["n"], "types": {"n": "int64"}}
    config: dict[str, Any] = {"output": {"format": format}, "corpus": keys}
    model = {"name": str(untrained_model), "threads": 1}
    done = spanmill.answer(corpus, tmp_path / "out", model=model, **config)
    assert (done.rows, done.written, done.quarantined, done.reasons) == (13, 12, 1, {"null_question": 1})
    said = capsys.readouterr().err
    assert "starting Ray" in said
    assert "left out: 1 file (README.md): " in said
    assert (done.misfits, [line.partition(":")[0] for line in done.left_out]) == ({"n": {"null": 1}}, ["left out"])
    found = done.to_arrow().to_pylist()
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    expected = bare_engine(untrained_model, rows, QAParameters())
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))
    assert done.to_pandas()["answer"].tolist() == [row["answer"] for row in found]
    assert sorted(row["id"] for row in done.to_ray().take_all()) == sorted(row["id"] for row in rows)
    assert done.quarantine()["reason"].to_pylist() == ["null_question"]
    assert [Path(part).exists() for part in (*done.parts, done.report)] == [True] * (len(done.parts) + 1)
    text = (
        "<answer job, complete: 13 rows, 1 quarantined, not as it was: 'n' (.misfits), some files left out "
        f"(.left_out), in {tmp_path}/out>"
    )
    assert repr(done) == text

    again = spanmill.answer(corpus, tmp_path / "out", model=model, quiet=True, **config)
    assert (again.rows, again.outcome.tally.shards, repr(again)) == (13, 0, text)
    assert capsys.readouterr().err == ""


@pytest.mark.more
def test_vectors_and_an_error_before_anything_starts(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", [{"id": str(n), "text": f"Ada has {n}."} for n in range(5)])
    with pytest.raises(ConfigError, match=r"the arguments cannot be used:\n  unknown key embedding\.pool.*pooling"):
        spanmill.embed(corpus, tmp_path / "out", embedding={"pool": "cls"})
    done = spanmill.embed([corpus], tmp_path / "out", model=str(untrained_model), limit=3, quiet=True)
    assert len(done.to_arrow()["embedding"]) == done.rows == 3
    lines = spanmill.embed(
        *(corpus, tmp_path / "lines"), model=str(untrained_model), limit=3, quiet=True, output={"format": "jsonl"}
    )
    written, expected = lines.to_arrow(), done.to_arrow()
    assert (written.schema, written["id"].to_pylist()) == (expected.schema, expected["id"].to_pylist())
    # Each job's actor measures anew which of two products is faster, and these differ in the last bits.
    vectors, usual = (np.stack(table["embedding"].to_pylist()) for table in (written, expected))
    np.testing.assert_allclose(vectors, usual, atol=1e-6)
    assert lines.to_ray().schema().base_schema == done.to_ray().schema().base_schema


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([{"question": "a", "context": "b"}], "out"), TypeError, "input 0 is a dict; a job reads files, "),
        ((pa.table({"question": ["a"]}), "out"), TypeError, "input is a Table; .*QuestionAnswering"),
        ((None, "out"), TypeError, "input is None; a job reads files"),
        ((b"in.jsonl", "out"), TypeError, "input is a bytes"),
        ((["in.jsonl", 7], "out"), TypeError, "input 1 is an int"),
        (("in.jsonl", None), TypeError, "output is None; give a path or URL"),
        (("in.jsonl",), TypeError, "output is None; give a path or URL"),
    ],
)
def test_what_is_no_file_is_refused_by_name(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    for job in (spanmill.answer, spanmill.embed):
        with pytest.raises(error, match=words):
            job(*arguments)


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"limit": 0}, ValueError, "limit is 0; give 1 or more rows"),
        ({"limit": "3"}, TypeError, "limit is a str; give a number of rows"),
        ({"top_k": 3}, ConfigError, r"unknown key top_k; the nearest is qa\.top_k"),
        ({"qa.topk": 3}, ConfigError, r"unknown key qa\.topk; the nearest is qa\.top_k"),
        ({"model": 7}, ConfigError, "model: .*got 7"),
    ],
)
def test_keys_that_cannot_be_used_are_named(keys: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        spanmill.answer("in.jsonl", "out", **keys)


def test_names_and_dots_are_taken_as_people_write_them(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", [{"q": "Who?", "context": "Ada waits."}] * 3)
    keys: dict[str, Any] = {"corpus.columns.question": "q", "qa": {"max_answer_len": 9}, "qa.top_k": 2}
    done = spanmill.answer(
        input=(path for path in [corpus]), output=tmp_path / "out", model=untrained_model, quiet=True, **keys
    )
    assert (done.rows, done.job.config.corpus.columns.question) == (3, "q")
    assert [len(answers) for answers in done.to_arrow()["answers"]] == [2] * 3
    assert keys["qa"] == {"max_answer_len": 9}
