"""`QuestionAnswering`, called in all the ways in which transformers' pipeline was called."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from actors.parameters import QAParameters
from spanmill import QuestionAnswering
from spanmill.model import CHUNK_ROWS
from tests.actors.helpers import GOLDEN, Answer, read_lines, same_up_to_ties
from tests.actors.test_golden import CASES, Case

PASSAGES = {record["id"]: record["context"] for record in read_lines(GOLDEN / "passages.jsonl")}
MODEL = GOLDEN / "models" / "distilbert"
PAIR = {"question": "Who waits?", "context": "Ada waits by the mill. Bo ground the oats."}


@pytest.fixture(scope="module")
def qa() -> QuestionAnswering:
    return QuestionAnswering(str(MODEL), device=-1)


def _is_answered(case: Case) -> bool:
    """Whether upstream answers, and by no departure of ours (tests/actors/test_golden.py lists them)."""
    stride, size = case.parameters.get("doc_stride", 0), case.parameters.get("max_seq_len", 384)
    question, context = case.pair
    return bool(case.expected) and stride < size - 3 and "[CLS]" not in question and bool(context.strip())


def test_the_dicts_are_those_of_the_pipeline(qa: QuestionAnswering) -> None:
    cases = [case for case in CASES if case.model == MODEL.name and _is_answered(case)]
    assert len(cases) > 170
    for case in cases:
        question, context = case.pair
        found = qa(question=question, context=context, **case.given)
        rows = found if isinstance(found, list) else [found]
        assert isinstance(found, list) == (case.parameters.get("top_k", 1) > 1)
        got = [Answer(row["answer"], row["start"], row["end"], row["score"]) for row in rows if row["score"] > 0]
        expected = [
            Answer(e["answer"], e["start"], e["end"], e["score"]) for e in case.expected or [] if e["score"] > 0
        ]
        assert same_up_to_ties(got, expected), case.name()
        assert all(set(row) == {"score", "start", "end", "answer"} for row in rows)


class _Streamed:
    """A dataset that is read as it comes, and does not know its length."""

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter([PAIR, PAIR])


def test_every_way_of_asking_gives_the_same(qa: QuestionAnswering) -> None:
    one = qa(**PAIR)
    assert one["answer"] == PAIR["context"][one["start"] : one["end"]]
    asked, passage = PAIR["question"], PAIR["context"]
    for again in (
        qa(PAIR),
        qa(asked, passage),
        qa([PAIR]),
        qa(data=PAIR),
        qa(X=[PAIR]),
        qa(question=[asked], context=[passage]),
        qa(question=(asked,), context=passage),
        qa({"question": [asked], "context": passage}),
        qa(PAIR, padding=True, batch_size=8),
        qa(asked, context=passage),
        qa([asked], [passage]),
        qa(pd.DataFrame([PAIR])),
        qa(pa.Table.from_pylist([PAIR])),
        qa(question=np.array([asked]), context=pd.Series([passage])),
        qa(question=pa.array([asked]), context=passage),
    ):
        assert again == one
    for several in (
        qa([PAIR, PAIR]),
        qa(PAIR, PAIR),
        qa(question=[asked, asked], context=passage),
        qa(question=[asked, asked], context=[passage, passage]),
        list(qa(iter([PAIR, PAIR]))),
        list(qa(_Streamed())),
        qa(pd.DataFrame([PAIR, PAIR], index=[7, 8])),
    ):
        assert [row["answer"] for row in several] == [one["answer"]] * 2
    assert qa(PAIR, topk=2) == qa(PAIR, top_k=2)
    assert len(qa(PAIR, top_k=2)) == 2
    assert qa([]) == []


def test_a_generator_is_read_as_its_answers_are(qa: QuestionAnswering) -> None:
    read = []

    def examples() -> Iterator[dict[str, str]]:
        for number in range(3 * CHUNK_ROWS):
            read.append(number)
            yield {"question": f"Who has {number}?", "context": f"Ada has {number}."}

    answers = qa(examples())
    assert read == []
    first = next(answers)
    assert len(read) == CHUNK_ROWS
    assert first["answer"] in "Ada has 0."


def test_defaults_are_given_once_and_overridden_by_a_call(qa: QuestionAnswering) -> None:
    three = QuestionAnswering(str(MODEL), top_k=3, max_answer_len=2)
    assert three(PAIR) == qa(PAIR, top_k=3, max_answer_len=2)
    assert three(PAIR, top_k=1) == qa(PAIR, max_answer_len=2)


def test_a_passage_of_blanks_has_no_answer_and_costs_no_other(qa: QuestionAnswering) -> None:
    blank = {"question": "Who?", "context": " \u200b"}
    first, nothing, last = qa([PAIR, blank, PAIR])
    assert nothing == {"score": 0.0, "start": 0, "end": 0, "answer": ""}
    assert first == last == qa(PAIR)
    assert qa([PAIR, blank], top_k=2)[1] == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"question": "", "context": "x"}, ValueError, "question of example 0 is empty"),
        ({"data": [PAIR, {"question": "x"}]}, KeyError, "example 1 has no 'context'"),
        ({"data": [PAIR, {**PAIR, "context": None}]}, ValueError, "context of example 1 is None"),
        ({"data": [PAIR, {**PAIR, "context": 7}]}, TypeError, "context 1 is of type int"),
        (
            {"data": [PAIR, {**PAIR, "question": "half \ud83d"}]},
            ValueError,
            "question 1 holds half of a surrogate pair",
        ),
        ({"data": 7}, TypeError, "an int is no question"),
        ({"data": None}, TypeError, "None is no question; give question="),
        ({"data": "Who waits?"}, TypeError, "a text alone is no question"),
        ({"data": [7]}, TypeError, "example 0 is an int; give dicts"),
        ({"data": [("a", "b", "c")]}, TypeError, "example 0 is a tuple; give dicts"),
        ({"data": {"question": ["x"]}}, KeyError, "the dict has no 'context'"),
        ({"data": pd.DataFrame({"q": ["x"], "context": ["y"]})}, KeyError, "the DataFrame has no 'question'"),
        ({"question": None, "context": "x"}, TypeError, "question is None; give a string"),
        ({"question": "x", "context": None}, TypeError, "context is None; give a string"),
        ({"question": 7, "context": "x"}, TypeError, "question is an int; give a string"),
        ({"question": b"x", "context": "x"}, TypeError, "question is bytes; decode it"),
        ({"question": [None, "x"], "context": "x"}, ValueError, "question of example 0 is None; leave it out"),
        ({"question": ["x", float("nan")], "context": "x"}, TypeError, "question 1 is of type float; .*leave it out"),
        ({"question": "x"}, TypeError, "question is given alone; give question=... and context="),
        ({**PAIR, "top_k": 0}, ValueError, "^top_k should be greater than or equal to 1, and is 0"),
        ({"question": ["a"], "context": ["b", "c"]}, ValueError, "1 questions and 2 contexts"),
        ({"question": "a", "context": ["b", "c"]}, TypeError, "repeat the question"),
        ({"question": "Who? " * 500, "context": "x"}, ValueError, "example 0 leaves no room.*max_seq_len"),
        ({**PAIR, "topp_k": 2}, TypeError, "unknown parameter topp_k; there are align_to_words, "),
        ({}, TypeError, "nothing is asked"),
    ],
)
def test_what_cannot_be_asked_is_an_error_that_says_so(
    qa: QuestionAnswering, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        qa(**arguments)


def test_every_parameter_of_a_job_is_one_of_a_call(qa: QuestionAnswering) -> None:
    defaults = QAParameters().model_dump(exclude={"null_score", "max_question_len", "max_seq_len", "doc_stride"})
    assert qa(PAIR, **defaults) == qa(PAIR)


def test_the_model_that_ships_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    qa = QuestionAnswering()
    assert qa(question="Who waits by the mill?", context="Ada waits by the mill.")["answer"] == "Ada"


def test_columns_beside_the_answers(qa: QuestionAnswering) -> None:
    plain = qa(PAIR)
    names = ["attribution", "attention", "tokens", "token_vectors", "hidden", "embedding"]
    found = qa(PAIR, columns=names)
    assert found["score"] == pytest.approx(plain["score"], abs=1e-6)
    assert [found[name] for name in ("answer", "start", "end")] == [plain[name] for name in ("answer", "start", "end")]
    assert set(found) - set(plain) == set(names)
    context = PAIR["context"]
    assert [token["text"] for token in found["tokens"]] == [
        context[token["start"] : token["end"]] for token in found["tokens"]
    ]
    width = len(found["embedding"])
    assert found["token_vectors"].shape == (len(found["tokens"]), width)
    assert found["hidden"].shape == (3, width)
    mean = found["token_vectors"].mean(axis=0)
    np.testing.assert_allclose(found["hidden"][-1], mean, atol=1e-5)
    np.testing.assert_allclose(found["embedding"], mean / np.linalg.norm(mean), atol=1e-5)
    assert {token["part"] for token in found["attention"][0]["tokens"]} == {"question", "passage", "special"}
    assert 0 < len(found["attribution"]) <= 16


def test_a_pipeline_with_attention_tells_what_its_answers_attended_to(qa: QuestionAnswering) -> None:
    telling = QuestionAnswering(str(MODEL), device=-1, attention=True)
    rows = [PAIR, {"question": "Who?", "context": "  "}, {"question": "Who ground oats?", "context": "Bo did."}]
    answers = telling(rows)
    assert ["attribution" in answer for answer in answers] == [True, False, True]
    texts = {"question": PAIR["question"], "passage": PAIR["context"]}
    for share in answers[0]["attribution"]:
        assert texts[share["part"]][share["start"] : share["end"]] == share["text"]
    first, *others = telling(PAIR, top_k=3)
    assert first["attribution"] == answers[0]["attribution"]
    assert not any("attribution" in other for other in others)
    assert "attribution" not in telling(PAIR, columns=["tokens"])
    with pytest.raises(ValueError, match="columns: 'answer' is no column; there are attribution"):
        qa(PAIR, columns=["answer"])
