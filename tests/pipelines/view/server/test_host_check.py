"""Which hosts a request may name."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pipelines.view.server.host_check import HostCheckMiddleware, host_name


@pytest.fixture
def client() -> TestClient:
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("in"))])
    app.add_middleware(HostCheckMiddleware, names=["My-Machine"])
    return TestClient(app)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8010", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:8010", "my-machine:8010"]
)
def test_this_machine_is_reached_by_its_own_names(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).text == "in"


HOSTILE = ("evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "10.0.0.1")


@pytest.mark.parametrize("host", [*HOSTILE, "", "[", "@"])
def test_a_page_that_came_in_by_a_name_of_its_own_learns_nothing(client: TestClient, host: str) -> None:
    reply = client.get("/", headers={"Host": host})
    assert (reply.status_code, reply.json()["reason"]) == (421, "wrong_host")


def test_names_are_told_from_ports() -> None:
    assert [host_name(host) for host in ("A:1", "[::1]:2", " b ", "")] == ["a", "::1", "b", ""]
