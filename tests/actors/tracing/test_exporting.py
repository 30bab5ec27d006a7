"""A collector that is slow, gone or full costs the work nothing, and is told of once."""

import logging
import random
import threading
import time
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from actors.tracing.exporting import BackgroundProcessor, SpanIds
from actors.tracing.tracing import Tracing
from tests.otlp_receiver import Collector
from tests.waiting import until


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name.startswith(("opentelemetry", "spanmill"))]


def test_spans_come_without_being_flushed(tracing: Tracing, collector: Collector) -> None:
    tracing.start("one", None, {}).end()
    assert collector.the("one").parent == ""


def test_flushing_soon_waits_for_nothing(tracing: Tracing, collector: Collector) -> None:
    collector.open.clear()
    tracing.start("one", None, {}).end()
    tracing.flush_soon()
    assert collector.spans() == []
    collector.open.set()
    collector.the("one")


def test_a_collector_that_refuses_is_told_of_once(
    tracing: Tracing, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.status = 401
    for _ in range(3):
        before = collector.requests
        tracing.start("lost", None, {}).end()
        until(lambda seen=before: collector.requests > seen)  # type: ignore[misc]
        tracing.flush(60)
    [said] = _told(caplog)
    assert "the work goes on" in said
    collector.status = 200
    tracing.start("found", None, {}).end()
    assert [span.name for span in collector.wait_for("found")] == ["found"]


def test_more_spans_than_wait_are_dropped_without_a_word(
    tracing: Tracing, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.open.clear()
    for _ in range(5000):
        tracing.start("many", None, {}).end()
    collector.open.set()
    tracing.flush(60)
    assert 2048 <= len(collector.spans("many")) < 5000
    assert _told(caplog) == []


def test_a_collector_that_hangs_holds_nobody_up_twice(tracing: Tracing, collector: Collector) -> None:
    collector.open.clear()
    tracing.start("stuck", None, {}).end()
    tracing.flush(0.01)
    began = time.monotonic()
    tracing.flush(600)
    assert time.monotonic() - began < 300


def test_what_a_program_logs_of_its_own_sdk_is_kept(tracing: Tracing, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("opentelemetry.sdk._shared_internal").warning("somebody else's")
    assert _told(caplog) == ["somebody else's"]


def test_ids_do_not_follow_the_seed_of_a_program() -> None:
    ids = SpanIds()
    found = set()
    for _ in range(5):
        random.seed(1)
        found |= {ids.generate_span_id(), ids.generate_trace_id()}
    assert len(found) == 10


def test_a_given_id_is_that_of_the_next_spans_in_the_block() -> None:
    ids = SpanIds()
    with ids.given(7):
        assert ids.generate_span_id() == 7
    assert ids.generate_span_id() != 7


def test_one_thread_flushes_however_many_ask(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class SlowlyMade(threading.Thread):
        def __init__(self, *args: Any, **keys: Any) -> None:
            made.append(keys.get("name"))
            time.sleep(0.1)
            super().__init__(*args, **keys)

    callers = [threading.Thread(target=tracing.flush_soon) for _ in range(4)]
    monkeypatch.setattr("actors.tracing.exporting.threading.Thread", SlowlyMade)
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert made.count("spans") == 1


def test_closing_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in flushing, nor in ending the thread after that."""
    processor = BackgroundProcessor(InMemorySpanExporter())
    free = threading.Event()
    monkeypatch.setattr(processor, "_export_queued", lambda: time.sleep(0.9))
    monkeypatch.setattr(processor, "_shut_down", free.wait)
    began = time.monotonic()
    processor.close(1.0)
    took = time.monotonic() - began
    free.set()
    assert 0.9 <= took < 1.8
