"""Spans as a collector gets them."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import use_span

from actors.tracing.context import TraceContext
from actors.tracing.tracing import Tracing, caller, context_of, refuse
from tests.otlp_receiver import Collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_span_goes_on_with_a_trace_of_elsewhere(tracing: Tracing, collector: Collector) -> None:
    with tracing.span("inside", TraceContext(PARENT, "rojo=1"), {"spanmill.rows": 3}, "server") as span:
        context = context_of(span)
    assert context is not None
    got = collector.the("inside")
    assert (got.trace, got.parent, got.state, got.kind) == (PARENT[3:35], PARENT[36:52], "rojo=1", "server")
    assert got.attributes == {"spanmill.rows": 3}
    assert (context.trace_id, f"{context.span_id:016x}", context.tracestate) == (got.trace, got.id, "rojo=1")
    assert 0 < got.began <= got.ended


@pytest.mark.parametrize("given", ["", "nonsense", f"{PARENT}-more", PARENT.replace("0af7", "zzzz"), "00-0-0-01"])
def test_what_names_no_span_begins_a_trace(tracing: Tracing, collector: Collector, given: str) -> None:
    tracing.start("alone", TraceContext(given, "rojo=1"), {}).end()
    got = collector.the("alone")
    assert (got.parent, got.state) == ("", "")


def test_what_is_not_sampled_is_not_exported_and_nobody_is_told_of_it(tracing: Tracing, collector: Collector) -> None:
    span = tracing.start("hidden", TraceContext(f"{PARENT[:-2]}00"), {})
    assert context_of(span) is None
    span.end()
    tracing.start("seen", None, {}).end()
    collector.the("seen")
    assert collector.spans("hidden") == []


def test_the_sampler_of_the_environment_decides(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    tracing = Tracing.from_environment()
    tracing.start("alone", None, {}).end()
    tracing.start("asked for", TraceContext(PARENT), {}).end()
    tracing.close()
    assert [span.name for span in collector.spans()] == ["asked for"]


def test_a_failure_is_told_by_its_kind_and_never_by_its_text(tracing: Tracing, collector: Collector) -> None:
    with pytest.raises(ValueError, match="Lovelace"), tracing.span("fails", None, {}):
        raise ValueError("Ada Lovelace was born in London")
    got = collector.the("fails")
    assert (got.failed, got.message, got.events) == (True, "", 0)
    assert got.attributes == {"error.type": "ValueError"}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError])
def test_what_is_stopped_has_not_failed(tracing: Tracing, collector: Collector, kind: type[BaseException]) -> None:
    with pytest.raises(kind), tracing.span("stopped", None, {}):
        raise kind
    got = collector.the("stopped")
    assert (got.failed, got.attributes) == (False, {"spanmill.stopped": True})


@pytest.mark.parametrize(("status", "failed"), [(429, False), (503, True)])
def test_a_refusal_below_500_is_no_failure(tracing: Tracing, collector: Collector, status: int, failed: bool) -> None:
    with tracing.span("refused", None, {}) as span:
        refuse(span, status, "a_reason")
    got = collector.the("refused")
    assert (got.failed, got.attributes["spanmill.refused"]) == (failed, "a_reason")
    assert got.attributes.get("error.type") == ("a_reason" if failed else None)


def test_a_span_that_is_over_takes_the_place_that_was_kept_for_it(tracing: Tracing, collector: Collector) -> None:
    root = TraceContext(PARENT)
    kept = root.child()
    tracing.add("child", kept, 2_000_000_000, {}, 3_000_000_000, error="Broken")
    tracing.add("parent", root, 1_000_000_000, {}, 4_000_000_000, own=kept)
    child, parent = collector.the("child"), collector.the("parent")
    assert (child.parent, parent.id, parent.parent) == (parent.id, f"{kept.span_id:016x}", PARENT[36:52])
    assert (parent.began, child.began, child.ended, parent.ended) == (10**9, 2 * 10**9, 3 * 10**9, 4 * 10**9)
    assert (child.failed, parent.failed) == (True, False)


def test_the_process_says_what_it_is(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    def resource() -> dict[str, object]:
        tracing = Tracing.from_environment()
        tracing.start("one", None, {}).end()
        tracing.close()
        return collector.spans("one")[-1].resource

    assert resource()["service.name"] == "spanmill"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine,deployment.environment.name=test")
    told = resource()
    assert (told["service.name"], told["deployment.environment.name"]) == ("mine", "test")
    assert {"service.version", "host.name", "process.pid"} <= set(told)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    assert resource()["service.name"] == "other"


def test_headers_of_the_environment_are_sent(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
    tracing = Tracing.from_environment()
    tracing.start("one", None, {}).end()
    tracing.close()
    assert [headers["x-key"] for headers in collector.headers] == ["secret"]


def test_the_caller_is_the_open_span_of_a_program_or_that_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)
    assert caller() is None
    monkeypatch.setenv("TRACEPARENT", PARENT)
    assert caller() == TraceContext(PARENT)
    span = TracerProvider().get_tracer("a program").start_span("its own")
    with use_span(span):
        found = caller()
    assert found is not None
    assert found.trace_id == f"{span.get_span_context().trace_id:032x}"
