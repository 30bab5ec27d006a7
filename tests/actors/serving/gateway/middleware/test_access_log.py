"""Ids, headers and the log."""

import json
import logging
from typing import Any

import httpx2
import pytest

from actors.serving.replica.replica import Replica
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, WHERE, Failing
from tests.waiting import until

BODY = {"context": LOVELACE, "questions": [WHERE, "When?"]}


def _lines(caplog: pytest.LogCaptureFixture, *ids: str) -> list[dict[str, Any]]:
    """The log's lines of requests with these ids.

    A line is written just after its response, so those of an earlier test's requests may be there too.
    """

    def lines() -> list[dict[str, Any]]:
        records = [r for r in caplog.records if r.name == "spanmill.requests" and r.levelno == logging.INFO]
        return [line for line in (json.loads(record.getMessage()) for record in records) if line["id"] in ids]

    until(lambda: len(lines()) >= len(ids))
    return lines()


@pytest.mark.parametrize("given", ["abc-123", "a b", "x" * 128])
def test_an_id_of_the_client_is_kept(server: str, given: str) -> None:
    assert httpx2.get(f"{server}/live", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", [None, b"", b"x" * 129, b"\xfc", b"a\tb"])
def test_any_other_becomes_a_new_one(server: str, given: bytes | None) -> None:
    headers = {} if given is None else {b"X-Request-Id": given}
    ids = {httpx2.get(f"{server}/live", headers=headers).headers["X-Request-Id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(int(one, 16) and len(one) == 32 for one in ids)


def test_headers_say_where_the_time_went(server: str) -> None:
    times = ("X-Queue-Ms", "X-Tokenise-Ms", "X-Inference-Ms")
    reply = httpx2.post(f"{server}/answer", json=BODY)
    said = reply.json()["timing_ms"]
    in_body = [said["queue"], said["tokenise"], said["inference"]]
    assert [float(reply.headers[name]) for name in times] == pytest.approx(in_body, abs=0.06)
    assert said["inference"] > 0
    assert not set(map(str.lower, times)) & set(httpx2.get(f"{server}/live").headers)


def test_every_request_is_a_line_of_the_log(server: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "spanmill.requests")
    httpx2.post(f"{server}/answer", json=BODY, headers={"X-Request-Id": "one"})
    httpx2.post(f"{server}/models/minilm-qa", json={"inputs": ["", "b", "c"]}, headers={"X-Request-Id": "two"})
    httpx2.get(f"{server}/made/up", headers={"X-Request-Id": "three"})
    lines = _lines(caplog, "one", "two", "three")
    assert [(line["id"], line["route"], line["status"], line["rows"]) for line in lines] == [
        ("one", "POST /answer", 200, 2),
        ("two", "POST /models/{model:path}", 422, 3),
        ("three", "GET unknown", 404, 0),
    ]
    usual = {"id", "route", "status", "ms", "rows", "tenant"}
    times = {"queue_ms", "tokenise_ms", "inference_ms"}
    assert [set(line) for line in lines] == [usual | times, usual, usual]
    assert all(line["ms"] > 0 for line in lines)
    assert lines[0]["ms"] >= lines[0]["inference_ms"] > 0


def test_behind_a_server_that_signs_the_log_has_the_id_that_was_given(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spanmill.requests")
    httpx2.get(f"{serve(server_sets_id=True)}/live", headers={"X-Request-Id": "x" * 129})
    assert [line["id"] for line in _lines(caplog, "x" * 128)] == ["x" * 128]


def test_what_nobody_expected_is_500_with_its_id_and_a_traceback_in_the_log(
    serve: Serve, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = serve(client=Failing(replica, RuntimeError("a loose wire")))
    reply = httpx2.post(f"{url}/answer", json=BODY, headers={"X-Request-Id": "the-id"})
    assert (reply.status_code, reply.json()["reason"]) == (500, "internal")
    assert reply.headers["X-Request-Id"] == "the-id"
    assert "wire" not in reply.text
    assert [line["status"] for line in _lines(caplog, "the-id")] == [500]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "request the-id failed"
    assert "a loose wire" in caplog.text
    assert "Lovelace" not in caplog.text


def test_behind_a_server_that_signs_there_is_one_id(serve: Serve) -> None:
    reply = httpx2.get(f"{serve(server_sets_id=True)}/live", headers={"X-Request-Id": "given"})
    assert "X-Request-Id" not in reply.headers


def test_bodies_are_never_logged(server: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bodies = {"a": BODY, "b": {"context": "Lovelace"}, "c": {"inputs": [{"question": "Lovelace?", "context": ""}]}}
    for name, body in bodies.items():
        httpx2.post(f"{server}/answer", json=body, headers={"X-Request-Id": name})
    assert len(_lines(caplog, *bodies)) == 3
    assert "Lovelace" not in caplog.text
