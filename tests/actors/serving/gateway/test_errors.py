"""Bad bodies: the right status, and a message that names what is wrong."""

import json
from typing import Any

import httpx2
import pytest
from ray.exceptions import ActorUnavailableError

from actors.serving.gateway.errors import refusal_of
from tests.actors.serving.helpers import LOVELACE, WHERE, connected

PATHS = ("/answer", "/", "/models/minilm-qa", "/v1/embeddings", "/embed", "/tokenize")
JSON = {"Content-Type": "application/json"}
PASSAGE = {"context": LOVELACE, "questions": [WHERE]}


def _said(reply: httpx2.Response) -> str:
    error = reply.json()["error"]
    return str(error["message"] if isinstance(error, dict) else error)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b'{"inputs": ', 400, "the body is not JSON: Expecting value at character 11"),
        (b"not json", 400, "the body is not JSON: Expecting value at character 0"),
        (b'{"inputs": "\xff\xff"}', 400, "the body is not UTF-8: byte 12; encode it anew"),
        (b"[" * 100_000, 400, "the body is nested too deeply; send it flat"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "the body is nested too deeply; send it flat"),
        (b'{"inputs": ' + b"1" * 5000 + b"}", 400, "the body holds a number of too many digits"),
        (b"", 422, "the body is empty; send JSON"),
        (b"[1, 2]", 422, "the body: input should be an object with fields"),
        (b"[" * 900 + b"]" * 900, 422, "the body: input should be an object with fields"),
    ],
)
def test_what_is_no_object_is_refused_by_every_protocol(server: str, content: bytes, status: int, said: str) -> None:
    for path in PATHS:
        reply = httpx2.post(f"{server}{path}", content=content, headers=JSON)
        assert (reply.status_code, _said(reply)) == (status, said), path


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_what_is_not_called_json_is_415(server: str, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    for path in PATHS:
        reply = httpx2.post(f"{server}{path}", content=json.dumps(PASSAGE).encode(), headers=headers)
        assert reply.status_code == 415, path
        assert "Content-Type: application/json" in _said(reply)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "context: field required; questions: field required"),
        ({"context": LOVELACE}, "questions: field required"),
        (PASSAGE | {"question": WHERE}, "question: there is no such field here"),
        (PASSAGE | {"questions": WHERE}, "questions: input should be a valid list"),
        (PASSAGE | {"questions": [WHERE, 7, 8]}, "questions.1: input should be a valid string"),
        (PASSAGE | {"parameters": {"topk": 2}}, "parameters.topk: there is no such field here"),
        (PASSAGE | {"parameters": {"top_k": "2"}}, "parameters.top_k: input should be a valid integer"),
        (PASSAGE | {"parameters": {"top_k": True}}, "parameters.top_k: input should be a valid integer"),
        (PASSAGE | {"parameters": {"top_k": 0}}, "top_k: input should be greater than or equal to 1"),
        ({"inputs": [{"question": WHERE}]}, "inputs.0.context: field required"),
        ({"inputs": []}, "there are no inputs; send one at least"),
        (PASSAGE | {"questions": []}, "there are no inputs; send one at least"),
        (PASSAGE | {"questions": [WHERE, " \n"]}, "the question of input 1 is empty; leave the input out"),
        (PASSAGE | {"context": ""}, "the text of input 0 is empty; leave the input out"),
        (
            {"context": 1, "questions": [2], "a": 3, "b": 4, "c": 5},
            "context: input should be a valid string; questions.0: input should be a valid string; "
            "a: there is no such field here; and 2 more",
        ),
    ],
)
def test_what_is_wrong_is_named(server: str, body: dict[str, Any], said: str) -> None:
    reply = httpx2.post(f"{server}/answer", json=body)
    assert (reply.status_code, _said(reply)) == (422, said)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(PASSAGE | {"\ud800": 1}),
        json.dumps(PASSAGE | {"questions": ["\ud800"]}),
        json.dumps(PASSAGE | {"context": "a\udfff"}),
    ],
)
def test_half_a_character_is_named(server: str, content: str) -> None:
    reply = httpx2.post(f"{server}/answer", content=content.encode(), headers=JSON)
    assert reply.status_code == 422
    assert "surrogate" in _said(reply) or "unicode" in _said(reply)


def test_names_of_any_length_and_kind_can_be_repeated_to_the_client(server: str) -> None:
    content = json.dumps(PASSAGE | {"parameters": {"x" * 100_000: 1, "half \ud800": 1}}).encode()
    reply = httpx2.post(f"{server}/answer", content=content, headers=JSON)
    assert reply.status_code == 422
    assert len(reply.content) < 1000


@pytest.mark.parametrize("path", ["/answer", "/"])
def test_10_000_inputs_are_too_many(server: str, path: str) -> None:
    body = {"inputs": [{"question": WHERE, "context": LOVELACE}] * 10_000}
    reply = httpx2.post(f"{server}{path}", json=body)
    assert (reply.status_code, _said(reply)) == (413, "10000 inputs are more than 256; send them in parts")


def test_a_context_of_10_mb_is_too_long(server: str) -> None:
    reply = httpx2.post(f"{server}/answer", json=PASSAGE | {"context": "a" * 10_000_000})
    assert reply.status_code == 413
    assert _said(reply) == "the text of input 0 has 10000000 bytes, more than 4194304; cut it"


@pytest.mark.parametrize(
    "content",
    [
        b'{"inputs": [' + b"1," * 130_000 + b"1]}",
        b'{"inputs": [' + b"{}," * 65_000 + b"{}]}",
        b'{"inputs": "a"' + b"".join(b',"%d":1' % n for n in range(130_000)) + b"}",
    ],
    ids=["numbers", "empty pairs", "unknown fields"],
)
def test_a_hundred_thousand_errors_are_one(server: str, content: bytes) -> None:
    for path in ("/", "/answer", "/embed"):
        reply = httpx2.post(f"{server}{path}", content=content, headers=JSON)
        assert reply.status_code == 422, path
        assert len(reply.content) < 1000


def test_an_unknown_model_is_404_and_the_message_names_the_one_there_is(server: str) -> None:
    for path in ("/models/other/model", "/models/other/pipeline/question-answering", "/models/%00%ff"):
        reply = httpx2.post(f"{server}{path}", json={"inputs": {"question": WHERE, "context": LOVELACE}})
        assert reply.status_code == 404, path
        assert "minilm-qa" in _said(reply)


def test_what_is_not_http_gets_no_traceback(server: str, caplog: pytest.LogCaptureFixture) -> None:
    with connected(server) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        told = b"".join(iter(lambda: client.recv(4096), b""))
    assert told.startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in caplog.text


def test_a_proxy_that_cannot_be_reached_is_no_fault_of_the_service() -> None:
    lost = ActorUnavailableError("Connection reset by peer", None)
    refusal = refusal_of(lost)
    assert (refusal.status, refusal.reason, refusal.retry_after) == (503, "proxy_lost", 1)
    assert refusal_of(ValueError()).status == 500
