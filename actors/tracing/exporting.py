"""Exporting spans beside the work: a collector that is slow or gone costs it nothing, and is told of once."""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator

_LOGGER = logging.getLogger("spanmill.traces")
_DELAY = "OTEL_BSP_SCHEDULE_DELAY"
_DELAY_MS = 200
"""Between exports. OpenTelemetry's own five seconds would lose the last spans of workers, which Ray ends at once."""
_NOISY = ("opentelemetry.sdk._shared_internal", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
"""Loggers of the SDK, which tell of every batch that is lost."""


class _Quiet(logging.Filter):
    """Drops what a thread logs while it says so; what a program of others does with the SDK is logged as ever."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self._threads, "quiet", False)

    @contextmanager
    def here(self) -> Iterator[None]:
        before = getattr(self._threads, "quiet", False)
        self._threads.quiet = True
        try:
            yield
        finally:
            self._threads.quiet = before


class PatientExporter(SpanExporter):
    """Another exporter, whose failures become one warning."""

    def __init__(self, exporter: SpanExporter, quiet: _Quiet) -> None:
        """Takes the exporter that does the work."""
        self._exporter = exporter
        self._quiet = quiet
        self._has_warned = self._is_shut = False
        self.is_failing = False
        """Whether the last export failed."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Exports spans, with the exporter's own retries."""
        with self._quiet.here():
            try:
                result = self._exporter.export(spans)
            except Exception:
                result = SpanExportResult.FAILURE
        self.is_failing = result is not SpanExportResult.SUCCESS
        if self.is_failing and not self._has_warned:
            self._has_warned = True
            _LOGGER.warning(
                "spans are lost: the OTLP endpoint does not take them; the work goes on, and this is said once. See to "
                "the collector and to the OTEL_EXPORTER_OTLP_ variables"
            )
        return result

    def shutdown(self) -> None:
        """Breaks off what is being tried again; the second time, nothing."""
        if not self._is_shut:
            self._is_shut = True
            with self._quiet.here():
                self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing waits here."""
        return True


class BackgroundProcessor(BatchSpanProcessor):
    """Exports spans in a thread; whoever ends a span waits for nothing, and where too many wait, some are dropped.

    The SDK's environment variables `OTEL_BSP_*` count; the delay alone has another default.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        """Starts the thread."""
        self._quiet = _Quiet()
        for name in _NOISY:
            logging.getLogger(name).addFilter(self._quiet)
        self._patient = PatientExporter(exporter, self._quiet)
        self._wanted = threading.Event()
        self._flusher: threading.Thread | None = None
        self._starting = threading.Lock()
        self._gave_up = self._is_closed = False
        # The SDK itself reads the variable where it is set, and says what is wrong with it.
        super().__init__(self._patient, schedule_delay_millis=None if os.environ.get(_DELAY) else _DELAY_MS)

    def on_end(self, span: ReadableSpan) -> None:
        """Queues a span that has ended."""
        with self._quiet.here():
            super().on_end(span)

    def flush_soon(self) -> None:
        """Has what is queued exported now and not after the delay, and waits for nothing."""
        # Several stages of a job call it, each in its own thread.
        with self._starting:
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._flush_when_wanted, name="spans", daemon=True)
                self._flusher.start()
        self._wanted.set()

    def flush(self, seconds: float) -> None:
        """Waits until what is queued is exported, for some seconds at most; not at all where exports fail."""
        # A collector that has kept one process waiting at its end must not do so again.
        if not self._patient.is_failing and not self._gave_up:
            self._gave_up = not _done_within(seconds, self._export_queued)

    def close(self, seconds: float) -> None:
        """As `flush`, for as long in all; nothing is exported afterwards."""
        ends = time.monotonic() + seconds
        self.flush(seconds)
        self._is_closed = True
        self._wanted.set()
        # The exporter breaks off its retries then, and the thread of the processor ends.
        self._patient.shutdown()
        _done_within(0.0 if self._gave_up else max(ends - time.monotonic(), 0.0), self._shut_down)
        for name in _NOISY:
            logging.getLogger(name).removeFilter(self._quiet)

    def _flush_when_wanted(self) -> None:
        while not self._is_closed:
            self._wanted.wait()
            self._wanted.clear()
            self._export_queued()

    def _export_queued(self) -> None:
        with self._quiet.here():
            self.force_flush()

    def _shut_down(self) -> None:
        with self._quiet.here():
            self.shutdown()  # type: ignore[no-untyped-call]  # the SDK's


class SpanIds(IdGenerator):
    """Random ids, whatever a program has made of the seed of `random`; and those of spans that were named before."""

    def __init__(self) -> None:
        """Has no id given."""
        self._threads = threading.local()

    @contextmanager
    def given(self, span_id: int) -> Iterator[None]:
        """While the block runs, spans that this thread starts have this id."""
        self._threads.given = span_id
        try:
            yield
        finally:
            self._threads.given = None

    def generate_span_id(self) -> int:
        """64 bits, not all 0."""
        given: int | None = getattr(self._threads, "given", None)
        return given or 1 + secrets.randbelow((1 << 64) - 1)

    def generate_trace_id(self) -> int:
        """128 bits, not all 0."""
        return 1 + secrets.randbelow((1 << 128) - 1)

    def is_trace_id_random(self) -> bool:
        """All of its bits are."""
        return True


def _done_within(seconds: float, work: Callable[[], None]) -> bool:
    """Whether work in a thread of its own is done in this time; the SDK's `force_flush` knows no limit, as its issue
    4568 says.
    """
    thread = threading.Thread(target=work, name="spans at the end", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
