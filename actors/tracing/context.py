"""The trace context: which span work belongs to, as it travels between processes."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

_SAMPLED = 0x01


@dataclass(frozen=True)
class TraceContext:
    """A span elsewhere, as the two headers of W3C Trace Context (https://www.w3.org/TR/trace-context/) name it.

    What comes from outside is taken as it is; a `traceparent` that is none begins a trace of its own.
    """

    traceparent: str
    """`00-TRACE-SPAN-FLAGS`, in lower-case hex: 32, 16 and 2 digits."""
    tracestate: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "TraceContext | None":
        """The span that a program runs in, as `TRACEPARENT` and `TRACESTATE` name it; None where they do not.

        The names are those of https://opentelemetry.io/docs/specs/otel/context/env-carriers/.
        """
        traceparent = environ.get("TRACEPARENT", "")
        return cls(traceparent, environ.get("TRACESTATE", "")) if traceparent else None

    @classmethod
    def from_text(cls, text: str) -> "TraceContext":
        """The inverse of `str`."""
        traceparent, _, tracestate = text.partition(" ")
        return cls(traceparent, tracestate)

    def __str__(self) -> str:
        return f"{self.traceparent} {self.tracestate}".rstrip()

    @property
    def is_sampled(self) -> bool:
        """Whether the span is exported, and those within it are to be too. Only of a context made here."""
        return bool(int(self.traceparent[-2:], 16) & _SAMPLED)

    @property
    def trace_id(self) -> str:
        """32 digits of hex. Only of a context made here."""
        return self.traceparent.split("-")[1]

    @property
    def span_id(self) -> int:
        """Only of a context made here."""
        return int(self.traceparent.split("-")[2], 16)

    def child(self) -> "TraceContext":
        """A new span within this one, which whoever ends it has to export; see `Tracing.add`."""
        version, trace, _, flags = self.traceparent.split("-")
        return replace(self, traceparent=f"{version}-{trace}-{secrets.token_hex(8)}-{flags}")
