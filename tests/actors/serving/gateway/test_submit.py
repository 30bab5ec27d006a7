"""From fields to requests, within the limits."""

from typing import Any

import httpx2
import pytest

from actors.parameters import QAParameters
from actors.serving.gateway.context import Context
from actors.serving.parameters import LimitParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import Reply, Request
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, WHERE, InProcess

PASSAGE: dict[str, Any] = {"context": LOVELACE, "questions": [WHERE]}


class Recording(InProcess):
    """Remembers what it was asked."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self.asked: list[Request] = []

    async def ask(self, request: Request) -> Reply:
        self.asked.append(request)
        return await super().ask(request)


def test_a_request_carries_what_the_client_and_the_service_say(
    serve: Serve, replica: Replica, context: Context
) -> None:
    recording = Recording(replica)
    url = serve(client=recording, qa=QAParameters(max_answer_len=7, doc_stride=20))
    body = PASSAGE | {"parameters": {"top_k": 3, "doc_stride": 10}}
    reply = httpx2.post(f"{url}/answer", json=body, headers={"X-Request-Id": "mine"})
    assert reply.status_code == 200
    (request,) = recording.asked
    assert (request.id, request.task, request.texts, request.questions) == ("mine", "answer", (LOVELACE,), (WHERE,))
    assert request.qa == QAParameters(max_answer_len=7, top_k=3, doc_stride=10)
    assert request.embedding == context.embedding


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, 60.0), ("1500", 1.5), ("60000", 60.0), ("60001", 60.0), ("9" * 5000, 60.0)]
)
def test_a_deadline_is_the_clients_or_the_services_whichever_is_sooner(
    serve: Serve, replica: Replica, given: str | None, seconds: float
) -> None:
    recording = Recording(replica)
    headers = {} if given is None else {"X-Request-Timeout-Ms": given}
    assert httpx2.post(f"{serve(client=recording)}/answer", json=PASSAGE, headers=headers).status_code == 200
    assert [request.seconds for request in recording.asked] == [seconds]


@pytest.mark.parametrize("given", ["", "soon", "-1", "0", "000", "1.5", "1e3", "٣"])
def test_what_is_no_time_is_named(server: str, given: str) -> None:
    headers = {b"X-Request-Timeout-Ms": given.encode()}
    reply = httpx2.post(f"{server}/answer", json=PASSAGE, headers=headers)
    assert (reply.status_code, reply.json()["reason"]) == (422, "invalid")
    assert "X-Request-Timeout-Ms" in reply.json()["error"]
    assert "whole number of milliseconds" in reply.json()["error"]


def test_a_deadline_that_passes_in_the_queue_is_504(server: str, replica: Replica) -> None:
    body = PASSAGE | {"questions": [WHERE] * 256, "context": f"{LOVELACE} " * 200}
    reply = httpx2.post(f"{server}/answer", json=body, headers={"X-Request-Timeout-Ms": "1"})
    assert (reply.status_code, reply.json()["reason"]) == (504, "deadline")
    assert "X-Request-Timeout-Ms" in reply.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "reason", "said"),
    [
        (PASSAGE | {"questions": [WHERE] * 4}, 413, "too_many_inputs", "4 inputs are more than 3; send them in parts"),
        (PASSAGE | {"context": "é" * 51}, 413, "text_too_long", "the text of input 0 has 102 bytes, more than 100"),
        (PASSAGE | {"questions": [WHERE, "é" * 51]}, 413, "text_too_long", "the question of input 1 has 102 bytes"),
    ],
)
def test_limits_are_named(serve: Serve, body: Any, status: int, reason: str, said: str) -> None:
    url = serve(limits=LimitParameters(max_inputs=3, max_text_bytes=100))
    reply = httpx2.post(f"{url}/answer", json=body)
    assert (reply.status_code, reply.json()["reason"]) == (status, reason)
    assert said in reply.json()["error"]
    within = PASSAGE | {"questions": [WHERE] * 3, "context": "é" * 50}
    assert httpx2.post(f"{url}/answer", json=within).status_code == 200


def test_a_passage_that_many_share_counts_for_each(serve: Serve) -> None:
    url = serve(limits=LimitParameters(max_request_bytes=2000))
    few, many = ({"context": "a" * 500, "questions": [WHERE] * number} for number in (3, 4))
    assert httpx2.post(f"{url}/answer", json=few).status_code == 200
    reply = httpx2.post(f"{url}/answer", json=many)
    assert (reply.status_code, reply.json()["reason"]) == (413, "too_large")
    assert "more than 2000 bytes, each with its own text" in reply.json()["error"]
