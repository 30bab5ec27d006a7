import json
from typing import Any

import httpx2
import numpy as np
import pytest

from actors.parameters import AttentionParameters, QAParameters, TokenVectorParameters
from actors.serving.gateway.protocols.bodies.arrow_json import rows_json
from actors.serving.replica.codec import wanted_by
from actors.serving.replica.replica import Replica
from actors.serving.types import Request, WantedColumns
from tests.actors.serving.gateway.protocols.test_encode import same
from tests.actors.serving.helpers import LOVELACE, NAME, WHERE

QUESTIONS = [WHERE, "How many goats live on the moon?", "When was she born?"]
ALL: dict[str, Any] = {
    "top_k": 3,
    "max_seq_len": 30,
    "doc_stride": 6,
    "max_answer_len": 4,
    "max_question_len": 8,
    "handle_impossible_answer": True,
    "align_to_words": False,
    "null_score": True,
}


def post(server: str, body: Any) -> tuple[int, Any]:
    reply = httpx2.post(f"{server}/answer", json=body)
    return reply.status_code, reply.json()


def test_one_passage_with_many_questions_is_many_pairs(server: str) -> None:
    status, passage = post(server, {"context": LOVELACE, "questions": QUESTIONS})
    _, pairs = post(server, {"inputs": [{"question": q, "context": LOVELACE} for q in QUESTIONS]})
    assert status == 200
    assert set(passage) == set(pairs) == {"answers", "model", "usage", "timing_ms"}
    assert (passage["model"], passage["usage"]) == (NAME, pairs["usage"])
    assert set(passage["timing_ms"]) == {"tokenise", "queue", "inference"}
    assert len(passage["answers"]) == 3
    for (mine,), (theirs,) in zip(passage["answers"], pairs["answers"], strict=True):
        assert mine["answer"] == theirs["answer"] == LOVELACE[mine["start"] : mine["end"]]
        assert mine["score"] == pytest.approx(theirs["score"], abs=1e-4)


def test_every_parameter_of_the_engine_can_be_given(server: str, replica: Replica) -> None:
    assert set(ALL) == set(QAParameters.model_fields)
    context = f"{LOVELACE} " * 4
    _, told = post(server, {"context": context, "questions": QUESTIONS, "parameters": ALL})
    qa = QAParameters.model_validate(ALL)
    prepared = replica.prepare(Request("x", "answer", (context,) * 3, tuple(QUESTIONS), qa))
    answers = replica.actor.engine.answer(prepared, qa).answers
    assert answers is not None
    flat = [answer for row in told["answers"] for answer in row]
    assert [len(row) for row in told["answers"]] == [3, 3, 3]
    assert [answer["answer"] for answer in flat] == answers.text.to_pylist()
    assert [answer["score"] for answer in flat] == pytest.approx(answers.score.tolist(), abs=1e-4)
    assert told["null_scores"] == pytest.approx(answers.null_score.tolist(), abs=1e-4)
    assert told["usage"]["tokens"] == int(prepared.lengths(replica.actor.engine.spec.pair.specials).sum())


def test_columns_come_beside_the_answers(server: str, replica: Replica) -> None:
    names = ["attribution", "attention", "tokens", "token_vectors", "hidden", "embedding"]
    asked = {"columns": names, "attention": {"top": 2, "layers": [6]}, "token_vectors": {"layers": 0}}
    status, told = post(server, {"context": LOVELACE, "questions": QUESTIONS, "parameters": asked})
    assert status == 200
    _, without = post(server, {"context": LOVELACE, "questions": QUESTIONS})
    assert [row[0]["answer"] for row in told["answers"]] == [row[0]["answer"] for row in without["answers"]]
    columns = WantedColumns(tuple(names), TokenVectorParameters(layers=0), AttentionParameters(top=2, layers=(6,)))
    request = Request("x", "answer", (LOVELACE,) * 3, tuple(QUESTIONS), columns=columns)
    table, _ = replica.actor.process(replica.prepare(request).to_ipc(), wanted_by(request))
    expected = json.loads(rows_json(table.select(names)))
    assert [set(row) for row in told["columns"]] == [set(names)] * 3
    for name in names:
        assert same([row[name] for row in told["columns"]], [row[name] for row in expected]), name
    heaviest = told["columns"][0]["attribution"][0]
    assert {"question": QUESTIONS[0], "passage": LOVELACE}[heaviest["part"]][
        heaviest["start"] : heaviest["end"]
    ] == heaviest["text"]


def test_probabilities_are_those_that_answers_are_found_by(server: str, replica: Replica) -> None:
    asked = {"probabilities": True, "max_seq_len": 30, "doc_stride": 6, "align_to_words": False, "null_score": True}
    context = f"{LOVELACE} " * 3
    status, told = post(server, {"context": context, "questions": QUESTIONS[:2], "parameters": asked})
    assert status == 200
    assert "columns" not in told
    for question, windows, (best,), null in zip(
        QUESTIONS[:2], told["windows"], told["answers"], told["null_scores"], strict=True
    ):
        assert len(windows) > 2
        spans = list[tuple[float, str]]()
        for window in windows:
            tokens, start, end = window["tokens"], np.array(window["start"]), np.array(window["end"])
            assert len(tokens) == len(start) == len(end) <= 30
            assert [start.sum(), end.sum()] == pytest.approx([1, 1], abs=1e-5)
            may_be = np.array([token["part"] == "passage" or token["text"] == "[CLS]" for token in tokens])
            assert not start[~may_be].any()
            assert not end[~may_be].any()
            for token in tokens:
                if token["part"] != "special":
                    text = context if token["part"] == "passage" else question
                    assert text[token["start"] : token["end"]] == token["text"]
            own = [place for place, token in enumerate(tokens) if token["part"] == "passage"]
            spans += [
                (float(start[i] * end[j]), context[tokens[i]["start"] : tokens[j]["end"]])
                for i in own
                for j in own
                if 0 <= j - i < 15
            ]
        assert [window["first"] for window in windows] == sorted({window["first"] for window in windows})
        # Equal texts of a row are one answer, and its score is their sum.
        total = dict.fromkeys((text.lower() for _, text in spans), 0.0)
        kept = sorted(spans, reverse=True)
        assert best["answer"] in {text for _, text in kept[:5]}
        for probability, text in spans:
            total[text.lower()] += probability
        assert best["score"] == pytest.approx(total[best["answer"].lower()], abs=1e-2)
        assert null == pytest.approx(min(w["start"][0] * w["end"][0] for w in windows), abs=1e-5)


def test_probabilities_and_attribution_come_of_one_request(server: str) -> None:
    body = {"context": LOVELACE, "questions": QUESTIONS}
    _, both = post(server, body | {"parameters": {"probabilities": True, "columns": ["attribution"]}})
    _, windows = post(server, body | {"parameters": {"probabilities": True}})
    _, columns = post(server, body | {"parameters": {"columns": ["attribution"]}})
    assert same(both["windows"], windows["windows"])
    assert same(both["columns"], columns["columns"])
    assert [[answer["answer"] for answer in row] for row in both["answers"]] == [
        [answer["answer"] for answer in row] for row in windows["answers"]
    ]


def test_what_cannot_be_had_of_a_pair_is_named(server: str) -> None:
    body = {"context": LOVELACE, "question": WHERE}
    for parameters, said in (
        ({"columns": ["answers"]}, "parameters.columns.0: input should be 'attribution'"),
        ({"attention": {"top": 1000}}, "parameters.attention.top: "),
        ({"probabilities": 1}, "parameters.probabilities: input should be a valid boolean"),
    ):
        status, told = post(server, body | {"parameters": parameters})
        assert (status, told["reason"]) == (422, "invalid")
        assert told["error"].startswith(said)


def test_abstaining_is_null_as_in_a_job(server: str) -> None:
    body = {"context": LOVELACE, "questions": QUESTIONS[:2], "parameters": {"handle_impossible_answer": True}}
    _, told = post(server, body)
    (found,), (nothing,) = told["answers"]
    assert found["answer"] == "London"
    assert (nothing["answer"], nothing["start"], nothing["end"]) == (None, None, None)
    assert 0 < nothing["score"] <= 1


def test_null_scores_come_where_they_are_asked_for(server: str) -> None:
    body = {"context": LOVELACE, "questions": QUESTIONS[:2]}
    assert "null_scores" not in post(server, body)[1]
    assert "null_scores" not in post(server, body | {"parameters": {"null_score": None}})[1]
    low, high = post(server, body | {"parameters": {"null_score": True}})[1]["null_scores"]
    assert 0 < low < high < 1


def test_offsets_are_code_points(server: str) -> None:
    context = f"𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🦆 éé. {LOVELACE}"
    _, told = post(server, {"context": context, "questions": [WHERE]})
    ((found,),) = told["answers"]
    assert context[found["start"] : found["end"]] == found["answer"] == "London"


def test_pairs_and_a_passage_together_are_refused(server: str) -> None:
    body = {"context": LOVELACE, "questions": [WHERE], "inputs": [{"question": WHERE, "context": LOVELACE}]}
    status, told = post(server, body)
    assert (status, set(told)) == (422, {"error", "reason"})
    assert told["error"] == "context: there is no such field here; questions: there is no such field here"


def test_one_question_may_be_called_so(server: str) -> None:
    status, told = post(server, {"context": LOVELACE, "question": WHERE, "parameters": {"top_k": 2}})
    _, listed = post(server, {"context": LOVELACE, "questions": [WHERE], "parameters": {"top_k": 2}})
    assert status == 200
    assert [[one["answer"] for one in row] for row in told["answers"]] == [
        [one["answer"] for one in row] for row in listed["answers"]
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"context": LOVELACE}, "questions: field required"),
        ({"question": WHERE}, "context: field required"),
        ({"context": LOVELACE, "question": [WHERE]}, "question: input should be a valid string"),
        ({"context": LOVELACE, "question": WHERE, "questions": [WHERE]}, "question: there is no such field here"),
        ({"context": LOVELACE, "question": WHERE, "top_k": 2}, "top_k: there is no such field here"),
    ],
)
def test_what_is_missing_or_too_much_is_named(server: str, body: Any, said: str) -> None:
    status, told = post(server, body)
    assert (status, told["reason"]) == (422, "invalid")
    assert said in told["error"]
