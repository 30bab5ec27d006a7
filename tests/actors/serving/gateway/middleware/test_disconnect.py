"""Clients that do not wait for their answer."""

import json
import logging

import httpx2
import pytest

from actors.serving.replica.replica import Replica
from tests.actors.serving.helpers import LOVELACE, WHERE, connected
from tests.waiting import until

BODY = json.dumps({"context": LOVELACE, "questions": [WHERE]}).encode()


def test_a_request_whose_client_has_gone_leaves_the_queue(
    server: str, replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spanmill.requests")
    head = f"POST /answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    with replica.actor.engine.device_lock.online():
        with connected(server) as client:
            client.sendall(head.encode() + BODY)
            until(lambda: replica.in_hand == 1)
        # The device is still taken, so nothing was computed for it.
        until(lambda: replica.in_hand == 0)
    until(lambda: '"status":499' in caplog.text)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_the_next_request_of_the_connection_is_answered(server: str) -> None:
    headers = {"Content-Type": "application/json"}
    with httpx2.Client() as client:
        replies = [client.post(f"{server}/answer", content=BODY, headers=headers) for _ in range(3)]
    assert [reply.json()["answers"][0][0]["answer"] for reply in replies] == ["London"] * 3
