"""Bodies that are too long, too slow, or never come to an end."""

import logging
from collections.abc import Iterator

import httpx2
import pytest

from actors.serving.parameters import LimitParameters
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, WHERE, connected, until

BODY = {"context": LOVELACE, "questions": [WHERE]}
SMALL = LimitParameters(max_request_bytes=1024)
HEAD = "POST /answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


def _pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // 100):
        yield b" " * 100


@pytest.mark.parametrize("content", [b" " * 1025, _pieces(1100)], ids=["by its length", "while it streams"])
def test_beyond_the_limit_it_is_413(serve: Serve, content: bytes | Iterator[bytes]) -> None:
    reply = httpx2.post(f"{serve(limits=SMALL)}/answer", content=content)
    assert (reply.status_code, reply.json()["reason"]) == (413, "too_large")
    assert "1024 bytes" in reply.json()["error"]
    assert reply.headers["Connection"] == "close"


def test_up_to_the_limit_it_is_read(serve: Serve) -> None:
    content = b'{"context": "Ada was born in London.", "questions": ["Where?"]}'.ljust(1024)
    reply = httpx2.post(f"{serve(limits=SMALL)}/answer", content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 200


def test_pieces_make_a_whole(server: str) -> None:
    pieces = (bytes([one]) for one in b'{"context": "Ada was born in London.", "questions": ["Where?"]}')
    reply = httpx2.post(f"{server}/answer", content=pieces, headers={"Content-Type": "application/json"})
    assert reply.status_code == 200


def test_a_client_that_never_sends_its_body_is_told(serve: Serve) -> None:
    with connected(serve(limits=LimitParameters(timeout_ms=200))) as client:
        client.sendall(HEAD.format(100).encode() + b"{")
        told = b"".join(iter(lambda: client.recv(4096), b""))
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.2 s" in told


def test_a_client_that_hangs_up_amid_its_body_takes_nothing_with_it(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spanmill.requests")
    with connected(server) as client:
        client.sendall(HEAD.format(100).encode() + b"{")
    until(lambda: '"status":499' in caplog.text)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert httpx2.post(f"{server}/answer", json=BODY).status_code == 200
