"""Which requests are timed, and how pages of several nodes become one; test_serve has a page of a running service."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from starlette.routing import Route

from actors.serving import prometheus
from actors.serving.gateway.app import PROTOCOLS
from actors.serving.gateway.context import Context
from actors.serving.prometheus import PROBES, RequestMetrics, merge, pages


class _Metric:
    """Remembers the tags of what it is told; Ray's own needs a cluster to be looked at."""

    def __init__(self, *_: object) -> None:
        self.told: list[str] = []

        self.tags: list[dict[str, str]] = []

    def observe(self, value: float, tags: dict[str, str]) -> None:
        self.inc(value, tags)

    def inc(self, value: float, tags: dict[str, str]) -> None:
        self.told.append(tags["route"])
        self.tags.append(tags)


def test_probes_are_counted_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, timed = _Metric(), _Metric()
    monkeypatch.setattr(prometheus, "Counter", lambda *_: counted)
    monkeypatch.setattr(prometheus, "Histogram", lambda *_: timed)
    metrics = RequestMetrics()
    for path in (*sorted(PROBES), "/answer", None):
        metrics(path, 200, 0.01, "default")
    assert counted.told == [*sorted(PROBES), "/answer", "none"]
    assert timed.told == ["/answer", "none"]
    RequestMetrics("/ours/up")("/ours/up", 200, 0.01, "default")
    assert (counted.told[-1], timed.told[-1]) == ("/ours/up", "none")


def test_the_model_is_a_label_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, timed = _Metric(), _Metric()
    monkeypatch.setattr(prometheus, "Counter", lambda *_: counted)
    monkeypatch.setattr(prometheus, "Histogram", lambda *_: timed)
    RequestMetrics()("/embed", 200, 0.01, "search", "mine")
    several = RequestMetrics(names_models=True)
    several("/embed", 200, 0.01, "search", "mine")
    several("/live", 200, 0.01, "none")
    of_one, *of_several = ({key: tags.get(key) for key in ("route", "model")} for tags in counted.tags)
    assert of_one == {"route": "/embed", "model": None}
    assert of_several == [{"route": "/embed", "model": "mine"}, {"route": "/live", "model": "none"}]
    assert timed.tags[1] == {"route": "/embed", "model": "mine"}


def test_every_probe_of_every_protocol_is_known(context: Context) -> None:
    routes = [route for protocol in PROTOCOLS for route in protocol(context).router.routes]
    paths = {route.path for route in routes if isinstance(route, Route)}
    assert paths >= PROBES
    assert {path for path in paths if path.endswith(("live", "ready", "health", "ping", "metrics"))} == PROBES


def test_pages_of_several_nodes_are_one() -> None:
    head = "# HELP ray_spanmill_rows Rows.\n# TYPE ray_spanmill_rows gauge\n"
    other = "# HELP ray_tasks Tasks.\nray_tasks 3\n"
    pages = [head + f'ray_spanmill_rows{{node="{node}"}} 1\n' + other for node in "ab"]
    assert merge(pages) == head + 'ray_spanmill_rows{node="a"} 1\nray_spanmill_rows{node="b"} 1\n'


class _Node(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 500)
        self.end_headers()
        self.wfile.write("# µ\n".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def node() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Node) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_node_that_does_not_answer_hides_no_other(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}"
        found = asyncio.run(pages((f"{node}/metrics", f"{gone}/metrics", f"{node}/broken")))
    assert sorted(found) == ["", "", "# µ\n"]
