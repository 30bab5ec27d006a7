"""What SageMaker and the callers of its endpoints send."""

from typing import Any

import httpx2
import pytest

from actors.serving.replica.replica import Replica
from actors.serving.types import Refusal, Refused
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, WHERE, Failing, InProcess

PAIR = {"question": WHERE, "context": LOVELACE}


class Away(InProcess):
    """No model actor is there."""

    async def ready(self) -> None:
        raise Refused(Refusal(503, "not_ready", "no model actor is ready; try again later"))


def test_a_ping_is_answered_with_nothing(server: str) -> None:
    reply = httpx2.get(f"{server}/ping")
    assert (reply.status_code, reply.content) == (200, b"")


def test_without_a_model_a_ping_fails(serve: Serve, replica: Replica) -> None:
    reply = httpx2.get(f"{serve(client=Away(replica))}/ping")
    assert (reply.status_code, reply.json()["reason"]) == (503, "not_ready")


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": PAIR},
        {"inputs": [PAIR, PAIR], "parameters": {"top_k": 2, "handle_impossible_answer": True}},
        {"inputs": "Ada"},
        {"inputs": ["Ada", LOVELACE], "parameters": {"normalize": False}},
        {"inputs": {"source_sentence": "Ada", "sentences": ["Ada", LOVELACE]}},
    ],
)
def test_invocations_are_answered_as_hugging_faces_route_does(server: str, body: Any) -> None:
    got, expected = (httpx2.post(f"{server}{path}", json=body) for path in ("/invocations", "/"))
    assert got.status_code == expected.status_code == 200
    assert _rounded(got.json()) == _rounded(expected.json())


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"inputs": []}, 422, "there are no inputs; send one at least"),
        ({"instances": ["Ada"]}, 422, "inputs: field required"),
        ({"inputs": PAIR, "parameters": {"top": 2}}, 422, "parameters.top: there is no such field here"),
        ({"inputs": ["x"] * 257}, 413, "257 inputs are more than 256"),
    ],
)
def test_what_is_wrong_is_named(server: str, body: Any, status: int, said: str) -> None:
    reply = httpx2.post(f"{server}/invocations", json=body)
    assert (reply.status_code, set(reply.json())) == (status, {"error", "reason"})
    assert said in reply.json()["error"]


@pytest.mark.parametrize("kind", ["text/csv", "application/jsonlines"])
def test_other_kinds_of_bodies_are_refused(server: str, kind: str) -> None:
    reply = httpx2.post(f"{server}/invocations", content=b'{"inputs": "Ada"}\n', headers={"Content-Type": kind})
    assert (reply.status_code, reply.json()["reason"]) == (415, "not_json")


def test_failures_are_json(serve: Serve, replica: Replica) -> None:
    refusal = Refusal(503, "not_ready", "no model actor is ready; try again later")
    reply = httpx2.post(f"{serve(client=Failing(replica, Refused(refusal)))}/invocations", json={"inputs": PAIR})
    assert (reply.status_code, reply.json()["reason"], reply.headers["Retry-After"]) == (503, "not_ready", "1")


def _rounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _rounded(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return round(content, 3) if isinstance(content, float) else content
