"""Spans by OpenTelemetry's SDK: made while work runs, or of its times when it has ended."""

import asyncio
import atexit
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from actors.tracing.context import TraceContext
from actors.tracing.exporting import BackgroundProcessor, SpanIds
from actors.version import release

STOPPED = "spanmill.stopped"
"""Attribute of a span that ended because its result was no longer wanted: a client hung up, or Ctrl-C was pressed."""
_EXIT_SECONDS = 2.0
_W3C = TraceContextTextMapPropagator()

Attributes = Mapping[str, str | bool | int | float]
Kind = Literal["internal", "server", "client"]
"""Whether a span answers a call of another process, or makes one."""


class Tracing:
    """Makes spans and exports them. It is no global provider of OpenTelemetry's: a program may have its own beside it.

    What fails is told by the kind of its error and never by its text, which may hold texts of users.
    """

    def __init__(self, provider: TracerProvider, processor: BackgroundProcessor, ids: SpanIds) -> None:
        """Takes a provider whose spans go to the processor, and have these ids."""
        self._provider = provider
        self._processor = processor
        self._ids = ids
        self._tracer = provider.get_tracer("spanmill", release())

    @classmethod
    def from_environment(cls) -> "Tracing":
        """Tracing by the environment variables of OpenTelemetry's SDK and its OTLP exporter, both of which read them.

        Raises:
            Exception: whatever the exporter says of a value that it cannot use.
        """
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        processor, ids = BackgroundProcessor(OTLPSpanExporter()), SpanIds()
        provider = TracerProvider(resource=_resource(), id_generator=ids, shutdown_on_exit=False)
        provider.add_span_processor(processor)
        tracing = cls(provider, processor, ids)
        atexit.register(tracing.close)
        return tracing

    def start(
        self,
        name: str,
        parent: Span | TraceContext | None,
        attributes: Attributes,
        kind: Kind = "internal",
        began: int | None = None,
        links: Sequence[SpanContext] = (),
    ) -> Span:
        """Starts a span, which whoever calls has to end.

        Args:
            parent: None begins a trace.
            began: nanoseconds of the epoch; None is now.
            links: spans that it has to do with, and that are not its parent.
        """
        return self._tracer.start_span(
            name, _within(parent), SpanKind[kind.upper()], dict(attributes), [Link(context) for context in links], began
        )

    @contextmanager
    def span(
        self,
        name: str,
        parent: Span | TraceContext | None,
        attributes: Attributes,
        kind: Kind = "internal",
    ) -> Iterator[Span]:
        """A span that lasts as long as the block; what the block raises is its error, if it is one."""
        span = self.start(name, parent, attributes, kind)
        try:
            yield span
        except BaseException as error:
            end_with(span, error)
            raise
        finally:
            span.end()

    def add(
        self,
        name: str,
        parent: Span | TraceContext,
        began: int,
        attributes: Attributes,
        ended: int | None = None,
        links: Sequence[SpanContext] = (),
        error: str = "",
        own: TraceContext | None = None,
    ) -> None:
        """Exports a span that is over.

        Args:
            began, ended: nanoseconds of the epoch; None is now.
            error: its kind; empty where all went well.
            own: the context that others had of this span, made by `TraceContext.child`; None gives it a new id.
        """
        with nullcontext() if own is None else self._ids.given(own.span_id):
            span = self.start(name, parent, attributes, began=began, links=links)
        if error:
            fail(span, error)
        span.end(time.time_ns() if ended is None else ended)

    def flush_soon(self) -> None:
        """Has spans exported at once, and waits for nothing: this process may be ended any moment."""
        self._processor.flush_soon()

    def flush(self, seconds: float) -> None:
        """Waits until the spans that have ended are exported, for some seconds at most."""
        self._processor.flush(seconds)

    def close(self) -> None:
        """As `flush`, for two seconds at most; nothing is exported afterwards."""
        atexit.unregister(self.close)
        self._processor.close(_EXIT_SECONDS)


def fail(span: Span, kind: str) -> None:
    """Marks a span as failed.

    Args:
        kind: of the error, one of few words, for `error.type`.
    """
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def refuse(span: Span, status: int, reason: str) -> None:
    """Says of a span that its request was refused. By the conventions for HTTP, below 500 that is no failure of it."""
    span.set_attribute("spanmill.refused", reason)
    if status >= 500:
        fail(span, reason)


def end_with(span: Span, error: BaseException) -> None:
    """Says of a span what ended it; not every end is a failure."""
    if isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError):
        fail(span, type(error).__name__)
    else:
        span.set_attribute(STOPPED, True)


def context_of(span: Span) -> TraceContext | None:
    """A span as other processes are told of it; None where it is not sampled, and nobody has to be told."""
    if not span.get_span_context().trace_flags.sampled:
        return None
    headers: dict[str, str] = {}
    _W3C.inject(headers, set_span_in_context(span, Context()))
    return TraceContext(headers["traceparent"], headers.get("tracestate", ""))


def trace_id_of(span: Span) -> str:
    """The id of its trace, 32 digits of hex, sampled or not."""
    return f"{span.get_span_context().trace_id:032x}"


def caller() -> TraceContext | None:
    """The span that this program has opened around the call, or in which it runs; None where there is none."""
    current = get_current_span()
    if not current.get_span_context().is_valid:
        return TraceContext.from_environment(os.environ)
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    return TraceContext(headers["traceparent"], headers.get("tracestate", ""))


def _within(parent: Span | TraceContext | None) -> Context:
    # Never the span that happens to be current: a program of others may have opened one for something else.
    if parent is None:
        return Context()
    if isinstance(parent, Span):
        return set_span_in_context(parent, Context())
    return _W3C.extract({"traceparent": parent.traceparent, "tracestate": parent.tracestate}, Context())


def _resource() -> Resource:
    """What the variables say of this process, and where they say nothing, what it knows of itself."""
    told = OTELResourceDetector().detect().attributes
    own: dict[str, str | int] = {
        "service.name": "spanmill",
        "service.version": release(),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    return Resource.create({name: value for name, value in own.items() if name not in told})
