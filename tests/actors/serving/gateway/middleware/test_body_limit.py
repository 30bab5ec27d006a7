"""Bodies that are too long, too slow, or never come to an end."""

import gzip
import json
import logging
from collections.abc import Iterator

import httpx2
import pytest

from actors.serving.parameters import LimitParameters
from tests.actors.serving.conftest import Serve
from tests.actors.serving.helpers import LOVELACE, WHERE, connected
from tests.waiting import until

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


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_refused_by_that_name(server: str, encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    reply = httpx2.post(f"{server}/answer", content=gzip.compress(json.dumps(BODY).encode()), headers=headers)
    assert (reply.status_code, reply.json()["reason"]) == (415, "compressed")
    assert f"Content-Encoding is '{encoding}', and bodies are taken uncompressed" in reply.json()["error"]
    assert httpx2.post(f"{server}/answer", json=BODY, headers={"Content-Encoding": "Identity"}).status_code == 200


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


def test_all_bodies_in_hand_have_a_budget_together_and_give_it_back(serve: Serve) -> None:
    url = serve(limits=LimitParameters(max_request_bytes=1024, max_bytes_in_flight=1500))
    with connected(url) as slow, connected(url) as gone:
        slow.sendall(HEAD.format(1000).encode() + b" " * 900)
        until(lambda: httpx2.post(f"{url}/answer", content=b" " * 700).status_code == 429)
        reply = httpx2.post(f"{url}/answer", content=b" " * 700)
        assert (reply.json()["reason"], reply.headers["Retry-After"]) == ("queue_full", "1")
        assert "bodies of 900 bytes are in hand already" in reply.json()["error"]
        streamed = httpx2.post(f"{url}/answer", content=_pieces(700))
        assert streamed.status_code == 429
        # Small ones still fit, and whoever hangs up takes nothing with it.
        assert httpx2.post(f"{url}/answer", json=BODY).status_code == 200
        gone.sendall(HEAD.format(500).encode() + b" " * 400)
    until(lambda: httpx2.post(f"{url}/answer", content=b" " * 1000).status_code == 415)


def test_what_has_no_body_may_hardly_have_one(server: str) -> None:
    assert httpx2.request("GET", f"{server}/live", content=b" " * 1024).status_code == 200
    reply = httpx2.request("GET", f"{server}/live", content=b" " * 1025)
    assert (reply.status_code, reply.json()["error"][:37]) == (413, "the body is longer than 1024 bytes; s")


def test_a_budget_that_no_request_fits_into_is_an_error() -> None:
    with pytest.raises(ValueError, match="no request of that size could come in"):
        LimitParameters(max_request_bytes=2048, max_bytes_in_flight=1024)
