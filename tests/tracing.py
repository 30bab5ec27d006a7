"""Fixtures of traces: a collector, and tracing that exports to it."""

from collections.abc import Iterator

import pytest

from actors.tracing import environment
from actors.tracing.tracing import Tracing
from tests.otlp_receiver import Collector, collecting

VARIABLES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_BSP_SCHEDULE_DELAY",
    "TRACEPARENT",
    "TRACESTATE",
)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, which OpenTelemetry's variables name."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with collecting() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


@pytest.fixture
def tracing(collector: Collector) -> Iterator[Tracing]:
    """Tracing to that collector."""
    made = Tracing.from_environment()
    yield made
    made.close()


@pytest.fixture
def traced_process(collector: Collector) -> Iterator[Collector]:
    """The collector of all that this process does, which is decided anew for the length of a test."""
    environment._made.cache_clear()
    yield collector
    made = environment.tracing_here()
    environment._made.cache_clear()
    if made is not None:
        made.close()
