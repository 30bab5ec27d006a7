"""Rows to learn from, and rows to judge by."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.errors import CorpusError
from pipelines.training.dataset import TrainingData, read_training_data
from tests.pipelines.jobs import write_jsonl

NOTHING: dict[str, Any] = {"text": [], "answer_start": []}


def _row(number: int, passage: int, *, answered: bool = True) -> dict[str, Any]:
    answers = {"text": [str(passage)], "answer_start": [13]} if answered else NOTHING
    return {"id": f"r{number}", "question": f"q{number}", "context": f"It is number {passage}.", "answers": answers}


ROWS = [_row(number, number % 60, answered=number % 7 > 0) for number in range(240)]


def _read(path: Path, *words: str) -> TrainingData:
    return read_training_data([str(path)], load_config(FinetuneConfig, None, words).data)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "a.jsonl", ROWS)


def test_a_share_of_the_passages_is_held_out_with_all_their_questions(data: Path) -> None:
    found = _read(data, "data.held_out_share=0.3")
    learnt, judged = (set(table["context"].to_pylist()) for table in (found.examples, found.held_out))
    assert not learnt & judged
    assert 8 <= len(judged) <= 28
    assert learnt | judged == {row["context"] for row in ROWS}
    assert found.examples["id"].to_pylist() == [row["id"] for row in ROWS if row["context"] in learnt]
    # Unanswerable rows are learnt from, and not judged.
    answerable = [row["id"] for row in ROWS if row["context"] not in learnt and row["answers"] != NOTHING]
    assert found.held_out["id"].to_pylist() == answerable
    assert (found.warnings, [file.name for file in found.files]) == ((), ["a.jsonl"])


def test_the_same_passages_are_held_out_again_whatever_else_is_there(data: Path, tmp_path: Path) -> None:
    first = _read(data, "data.held_out_share=0.3")
    again = _read(data, "data.held_out_share=0.3")
    assert first.held_out.equals(again.held_out)
    assert first.examples.equals(again.examples)
    fewer = write_jsonl(
        tmp_path / "b.jsonl", [{**row, "id": "other"} for row in ROWS[::-1] if row["context"][-2] != "7"]
    )
    held, less = (
        set(found.held_out["context"].to_pylist()) for found in (first, _read(fewer, "data.held_out_share=0.3"))
    )
    assert less == {context for context in held if context[-2] != "7"}
    more = set(_read(data, "data.held_out_share=0.6").held_out["context"].to_pylist())
    assert held < more


def test_nothing_held_out(data: Path) -> None:
    found = _read(data, "data.held_out_share=0")
    assert (len(found.examples), len(found.held_out)) == (240, 0)


def test_files_are_held_out_instead_of_a_share(data: Path, tmp_path: Path) -> None:
    judged = write_jsonl(tmp_path / "dev.jsonl", [_row(1, 999), _row(2, 999, answered=False)])
    found = _read(data, f"data.held_out=[{judged}]", "data.held_out_share=0.5")
    assert len(found.examples) == 240
    assert found.held_out["context"].to_pylist() == ["It is number 999."]
    assert [file.name for file in found.files] == ["a.jsonl"]


def test_what_is_left_out_is_said_of_both(tmp_path: Path) -> None:
    misplaced = {**ROWS[1], "answers": {"text": ["never said"], "answer_start": [0]}}
    half = {**ROWS[1], "answers": {"text": ["never said", "1"], "answer_start": [0, 13]}}
    data = write_jsonl(tmp_path / "a.jsonl", [ROWS[1], misplaced, half])
    judged = write_jsonl(tmp_path / "dev.jsonl", [{**ROWS[1], "question": ""}, ROWS[2]])
    found = _read(data, f"data.held_out=[{judged}]")
    assert len(found.examples) == 2
    place = len(data.read_bytes().splitlines(keepends=True)[0])
    assert found.warnings == (
        f"1 row left out, answer is not at its offset: a.jsonl@{place}",
        "1 answers left out of rows that stay: they are not at their offsets",
        "1 row left out, no question: dev.jsonl@0",
    )


def test_there_must_be_an_answer_to_learn_from(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "a.jsonl", [_row(i, i, answered=False) for i in range(3)])
    with pytest.raises(CorpusError, match=rf"not one of 3 rows in {data} has an answer, so there is nothing to learn"):
        _read(data, "data.held_out_share=0")


def test_not_all_answers_may_be_held_out(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "a.jsonl", [_row(i, 7) for i in range(3)])
    with pytest.raises(CorpusError, match=rf"all answers of {data} are held out; lower data\.held_out_share \(0\.99"):
        _read(data, "data.held_out_share=0.999999")


def test_that_nothing_is_judged_is_said(data: Path, tmp_path: Path) -> None:
    few = _read(data, "data.held_out_share=1e-9")
    assert few.warnings == (
        "data.held_out_share (1e-09) holds out no passage with an answer, so nothing is judged; "
        "raise it, or name files by --held-out",
    )
    judged = write_jsonl(tmp_path / "dev.jsonl", [_row(2, 999, answered=False)])
    assert _read(data, f"data.held_out=[{judged}]").warnings == (
        f"{judged}: no row has an answer, so nothing is judged",
    )
    assert _read(data, "data.held_out_share=0").warnings == ()


def test_a_held_out_file_that_is_not_there(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"dev\.json"):
        _read(data, f"data.held_out=[{tmp_path}/dev.json]")
