"""A collector: the other end of OTLP over HTTP, which keeps the spans that it is sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.waiting import until


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as a collector gets it; ids are in hex."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    """Empty for the root of a trace."""
    state: str
    """`tracestate`."""
    began: int
    ended: int
    """Both nanoseconds of the epoch."""
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    """Trace and span of each."""
    failed: bool
    message: str
    """Of the status."""
    events: int
    resource: dict[str, Any]


@dataclass
class Collector:
    """What it was sent, and how it behaves."""

    url: str
    """For OTEL_EXPORTER_OTLP_ENDPOINT."""
    status: int = 200
    """With which it answers."""
    open: threading.Event = field(default_factory=threading.Event)
    """While it is not set, requests wait."""
    requests: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    _spans: list[ReceivedSpan] = field(default_factory=list)

    def spans(self, *names: str) -> list[ReceivedSpan]:
        """All spans so far, or those of these names, as they began."""
        return sorted((one for one in self._spans if not names or one.name in names), key=lambda one: one.began)

    def wait_for(self, *names: str, count: int = 1) -> list[ReceivedSpan]:
        """As `spans`, once there are so many of each name."""
        until(lambda: all(len(self.spans(name)) >= count for name in names))
        return self.spans(*names)

    def the(self, name: str) -> ReceivedSpan:
        """The only span of this name, once it is there."""
        [span] = self.wait_for(name)
        return span

    def take(self, body: bytes) -> None:
        """Reads a request."""
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                assert scope.scope.name == "spanmill"
                self._spans += [_received(span, resource) for span in scope.spans]


def _received(span: ProtoSpan, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=ProtoSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        state=span.trace_state,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        message=span.status.message,
        events=len(span.events),
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    def value(pair: KeyValue) -> Any:
        return getattr(pair.value, pair.value.WhichOneof("value") or "string_value")

    return {pair.key: value(pair) for pair in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Runs a collector on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.open.wait()
            collector.requests += 1
            collector.headers.append(dict(self.headers))
            if self.path == "/v1/traces" and collector.status == 200:
                collector.take(body)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    collector.open.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        collector.open.set()
        server.shutdown()
        thread.join()
        server.server_close()
