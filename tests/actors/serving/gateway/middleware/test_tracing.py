"""Traces of the whole service, from a client's `traceparent` to the passes of the replica."""

import asyncio
import json
import logging
import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.gateway.handle_client import HandleClient
from actors.serving.gateway.middleware.tracing import TracingMiddleware
from actors.serving.key_parameters import KeyParameters
from actors.serving.parameters import CorsParameters, LimitParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import Request
from actors.tracing.tracing import Tracing
from tests.actors.serving.helpers import LOVELACE, WHERE, Failing, serving
from tests.otlp_receiver import Collector
from tests.tracing import collector as collector
from tests.tracing import tracing as tracing
from tests.waiting import until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = {"context": LOVELACE, "questions": [WHERE, "When?"]}
KEY = "a-secret-key"


class _Handle:
    """A handle of Ray Serve, whose replica is in this process."""

    def __init__(self, replica: Replica) -> None:
        self.ask, self._replica = self, replica

    def remote(self, request: Request) -> "asyncio.Task[Any]":
        # What a request holds has to cross processes.
        return asyncio.get_running_loop().create_task(self._replica.ask(pickle.loads(pickle.dumps(request))))


@pytest.fixture
def url(context: Context, replica: Replica, tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The service, with a key and with traces."""
    monkeypatch.setenv("THE_KEYS", KEY)
    handle = _Handle(Replica(replica.actor, replica.card, tracing=tracing))
    traced = replace(context, client=HandleClient(handle, LimitParameters(), tracing))
    with serving(build_app(traced, KeyParameters(variable="THE_KEYS"), CorsParameters(), tracing=tracing)) as running:
        yield running


def _ask(url: str, body: object = BODY, path: str = "/answer", **headers: str) -> httpx2.Response:
    return httpx2.post(f"{url}{path}", json=body, headers={"Authorization": f"Bearer {KEY}", **headers})


def test_a_trace_goes_on_from_the_client_to_the_passes(url: str, collector: Collector) -> None:
    said = _ask(url, traceparent=PARENT, tracestate="rojo=1", **{"X-Request-Id": "my-id"})
    assert said.status_code == 200
    names = ["POST /answer", "call replica", "replica", "tokenise", "queue", "pass", "decode"]
    spans = collector.wait_for(*names)
    assert list(dict.fromkeys(span.name for span in spans)) == names
    assert {(span.trace, span.state) for span in spans} == {(PARENT[3:35], "rojo=1")}
    request, call, replica, *stages = spans
    assert [request.parent, call.parent, replica.parent] == [PARENT[36:52], request.id, call.id]
    assert {span.parent for span in stages} == {replica.id}
    assert [span.kind for span in spans[:4]] == ["server", "client", "server", "internal"]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/answer",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "spanmill.rows": 2,
        "spanmill.request.id": "my-id",
        "spanmill.tenant": "default",
    }


def test_without_a_client_that_traces_a_request_begins_one(url: str, collector: Collector) -> None:
    _ask(url)
    _ask(url)
    first, second = collector.wait_for("POST /answer", count=2)
    assert (first.parent, second.parent) == ("", "")
    assert first.trace != second.trace


@pytest.mark.parametrize("header", [PARENT.upper(), "00-0-0-01", "-"])
def test_a_header_that_is_none_begins_a_trace_too(url: str, collector: Collector, header: str) -> None:
    assert _ask(url, traceparent=header).status_code == 200
    assert collector.the("POST /answer").parent == ""


def test_what_the_client_does_not_sample_is_not_exported(
    url: str, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spanmill.requests")
    assert _ask(url, traceparent=f"{PARENT[:-2]}00").status_code == 200
    _ask(url)
    sampled = collector.the("POST /answer")
    assert sampled.trace != PARENT[3:35]
    assert len(collector.wait_for("replica")) == 1

    # The log names the trace of both, for whoever looks for the client's.
    def lines() -> list[dict[str, Any]]:
        return [json.loads(record.getMessage()) for record in caplog.records if record.name == "spanmill.requests"]

    until(lambda: len(lines()) == 2)
    assert [line["trace_id"] for line in lines()] == [PARENT[3:35], sampled.trace]


def test_nothing_of_the_request_is_in_its_spans(url: str, collector: Collector) -> None:
    _ask(url, path="/answer?token=in-the-url")
    _ask(url, path="/made/up/by-a-client")
    collector.wait_for("POST /answer", "decode", "POST")
    told = repr(collector.spans())
    for text in ("Lovelace", "born", "London", KEY, "in-the-url", "by-a-client"):
        assert text not in told
    [unknown] = collector.spans("POST")
    assert "http.route" not in unknown.attributes


def test_a_refusal_is_the_clients_and_tells_its_reason(url: str, collector: Collector) -> None:
    assert httpx2.post(f"{url}/answer", json=BODY).status_code == 401
    assert _ask(url, {"context": LOVELACE}).status_code == 422
    assert _ask(url, {"context": "", "questions": [WHERE]}).status_code == 422
    no_key = collector.the("POST")
    no_question, no_text = collector.wait_for("POST /answer", count=2)
    assert [span.failed for span in (no_key, no_question, no_text)] == [False] * 3
    assert no_key.attributes["spanmill.refused"] == "unauthorized"
    assert [span.attributes["http.response.status_code"] for span in (no_key, no_question, no_text)] == [401, 422, 422]


def test_what_nobody_expected_fails_the_span_and_keeps_its_text(
    context: Context, replica: Replica, tracing: Tracing, collector: Collector
) -> None:
    broken = replace(context, client=Failing(replica, RuntimeError("Ada Lovelace")))
    with serving(build_app(broken, KeyParameters(none=True), CorsParameters(), tracing=tracing)) as url:
        assert httpx2.post(f"{url}/answer", json=BODY).status_code == 500
    span = collector.the("POST /answer")
    assert (span.failed, span.message, span.events) == (True, "", 0)
    assert span.attributes["error.type"] == "RuntimeError"
    assert span.attributes["http.response.status_code"] == 500
    assert "Lovelace" not in repr(span)


def test_probes_and_the_page_are_left_out(url: str, collector: Collector) -> None:
    for path in ("/live", "/", "/docs", "/openapi.json", "/metrics"):
        httpx2.get(f"{url}{path}", headers={"Accept": "text/html"})
    _ask(url)
    collector.wait_for("POST /answer", "replica")
    assert {span.name for span in collector.spans() if span.kind == "server"} == {"POST /answer", "replica"}


def test_a_collector_that_is_gone_costs_no_request_its_answer(url: str, collector: Collector) -> None:
    collector.status = 503
    assert [_ask(url).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("method", ["BREW", "post"])
def test_methods_that_clients_make_up_do_not_become_names(tracing: Tracing, collector: Collector, method: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 405, "headers": []})

    _run(TracingMiddleware(app, tracing), {"type": "http", "method": method, "path": "/x", "headers": []})
    span = collector.the("HTTP")
    assert span.attributes["http.request.method"] == "_OTHER"


def test_a_client_that_hangs_up_is_no_failure(tracing: Tracing, collector: Collector) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    _run(TracingMiddleware(app, tracing), {"type": "http", "method": "POST", "path": "/x", "headers": []})
    span = collector.the("POST")
    assert (span.failed, span.attributes["spanmill.stopped"]) == (False, True)


def _run(app: ASGIApp, scope: Scope) -> None:
    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        pass

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
