"""The spans of a request in a replica: made of its times when it has ended, so that nothing waits for them."""

import time
from types import TracebackType
from typing import TYPE_CHECKING

from actors.scheduling.pass_log import PassLog
from actors.scheduling.request import QueuedRequest
from actors.serving.types import Refusal, Reply, Request

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from actors.tracing.tracing import Tracing


class RequestTrace:
    """Follows one request through its replica. Times are those of `time.monotonic`, in seconds."""

    def __init__(self, tracing: "Tracing", span: "Span") -> None:
        """Takes the span of the request, which is recorded."""
        self._tracing = tracing
        self._span = span
        self._to_epoch = time.time_ns() - time.monotonic_ns()
        self._tokenised: tuple[float, float] | None = None
        self._queued: QueuedRequest | None = None
        self.passes = PassLog(span.get_span_context())

    @classmethod
    def begin(cls, tracing: "Tracing | None", request: Request) -> "RequestTrace | None":
        """Starts the span of a request; None where it is not traced."""
        if tracing is None or request.trace is None:
            return None
        attributes = {
            "spanmill.task": request.task,
            "spanmill.rows": len(request.texts),
            "spanmill.tenant": request.tenant,
        }
        span = tracing.start("replica", request.trace, attributes, "server")
        return cls(tracing, span) if span.is_recording() else None

    def tokenised(self, began: float, ended: float) -> None:
        """Notes when a thread tokenised its texts."""
        self._tokenised = began, ended

    def queued(self, queued: QueuedRequest) -> None:
        """Notes where the times of its wait and of its passes will stand."""
        self._queued = queued

    def told(self, outcome: Reply | Refusal) -> None:
        """Notes what its gateway is told."""
        from actors.tracing.tracing import refuse

        if isinstance(outcome, Refusal):
            refuse(self._span, outcome.status, outcome.reason)

    def __enter__(self) -> "RequestTrace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        from actors.tracing.tracing import end_with

        ended = time.monotonic()
        if error is not None:
            end_with(self._span, error)
        if self._tokenised is not None:
            self._add("tokenise", *self._tokenised, {})
        if self._queued is not None:
            self._add_queue_and_passes(self._queued, ended)
        self._span.end(self._epoch(ended))

    def _add_queue_and_passes(self, queued: QueuedRequest, ended: float) -> None:
        lengths, passes = queued.task.lengths, self.passes.passes
        self._span.set_attribute("spanmill.windows", len(lengths))
        self._span.set_attribute("spanmill.tokens", int(lengths.sum()))
        self._add("queue", queued.arrived, passes[0].began if passes else ended, {})
        for one in passes:
            self._tracing.add(
                "pass",
                self._span,
                self._epoch(one.began),
                {
                    "spanmill.windows": one.windows,
                    "spanmill.pass.windows": one.all_windows,
                    "spanmill.pass.requests": one.requests,
                },
                self._epoch(one.ended),
                links=one.shared_with,  # type: ignore[arg-type]  # they are the spans that `passes` was made with
                error=one.error,
            )
        if queued.future.done() and not queued.future.cancelled() and queued.future.exception() is None:
            # From the end of the last pass: its results are read, merged, and put into the reply.
            self._add("decode", passes[-1].ended if passes else queued.arrived, ended, {})

    def _add(self, name: str, began: float, ended: float, attributes: dict[str, int]) -> None:
        self._tracing.add(name, self._span, self._epoch(began), attributes, self._epoch(ended))

    def _epoch(self, seconds: float) -> int:
        """Nanoseconds of the epoch."""
        return round(seconds * 1e9) + self._to_epoch
