"""The spans of requests in a replica, as a collector gets them."""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from actors.engine.batcher import Batcher
from actors.parameters import BatchingParameters
from actors.scheduling.scheduler import OnlineScheduler
from actors.serving.parameters import LimitParameters
from actors.serving.replica.replica import Replica
from actors.serving.types import Refusal, Reply, Request
from actors.tracing.context import TraceContext
from actors.tracing.tracing import Tracing
from tests.actors.serving.helpers import LOVELACE, WHERE
from tests.actors.serving.toys import FAILS, ToyReplicas
from tests.otlp_receiver import Collector
from tests.tracing import collector as collector
from tests.tracing import tracing as tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ANSWER = Request("one", "answer", (LOVELACE, LOVELACE), (WHERE, "When?"), trace=TraceContext(PARENT))
EMBED = Request("two", "embed", ("a text",), trace=TraceContext(PARENT))
STAGES = ["tokenise", "queue", "pass", "decode"]


@pytest.fixture
def toys() -> Iterator[ToyReplicas]:
    """A replica whose model breaks at certain words."""
    made = ToyReplicas()
    yield made
    made.close()


@pytest.fixture
def traced(toys: ToyReplicas, tracing: Tracing) -> Replica:
    """It, with traces."""
    inner = toys.replica()
    return Replica(inner.actor, inner.card, tracing=tracing)


def test_a_request_is_a_span_and_its_stages_lie_within_one_after_the_other(
    replica: Replica, tracing: Tracing, collector: Collector
) -> None:
    said = asyncio.run(Replica(replica.actor, replica.card, tracing=tracing).ask(ANSWER))
    assert isinstance(said, Reply)
    request = collector.the("replica")
    stages = collector.wait_for(*STAGES)
    assert list(dict.fromkeys(span.name for span in stages)) == STAGES
    assert {span.parent for span in stages} == {request.id}
    assert {span.trace for span in (request, *stages)} == {PARENT[3:35]}
    assert (request.parent, request.kind, request.failed) == (PARENT[36:52], "server", False)
    assert request.attributes == {
        "spanmill.task": "answer",
        "spanmill.rows": 2,
        "spanmill.tenant": "default",
        "spanmill.windows": 2,
        "spanmill.tokens": sum(said.tokens),
    }
    # One or two, as the batcher likes.
    passes = collector.spans("pass")
    assert sum(one.attributes["spanmill.windows"] for one in passes) == 2
    assert [one.attributes["spanmill.pass.requests"] for one in passes] == [1] * len(passes)
    moments = [request.began, *(moment for span in stages for moment in (span.began, span.ended)), request.ended]
    # Half a microsecond is lost where seconds become nanoseconds.
    assert all(later - earlier >= -1000 for earlier, later in pairwise(moments))


def test_who_asks_without_a_trace_gets_none(traced: Replica, tracing: Tracing, collector: Collector) -> None:
    asyncio.run(traced.ask(replace(EMBED, trace=None)))
    asyncio.run(traced.ask(replace(EMBED, trace=TraceContext(f"{PARENT[:-2]}00"))))
    tracing.start("last", None, {}).end()
    collector.the("last")
    assert [span.name for span in collector.spans()] == ["last"]


def test_requests_that_share_a_pass_are_linked(traced: Replica, collector: Collector) -> None:
    engine = traced.actor.engine
    engine.batcher = Batcher(BatchingParameters(fixed_windows=8))
    traced.actor.scheduler = scheduler = OnlineScheduler(engine, math.inf, 64)
    parents = [f"00-{number:032x}-{number:016x}-01" for number in (1, 2, 3)]

    async def ask_together() -> None:
        # While the device is taken, they queue.
        with engine.device_lock.offline(0.0):
            asked = [asyncio.create_task(traced.ask(replace(EMBED, trace=TraceContext(one)))) for one in parents]
            while len(scheduler) < len(asked):
                await asyncio.sleep(0.001)
        await asyncio.gather(*asked)

    asyncio.run(ask_together())
    passes = collector.wait_for("pass", "replica", count=3)
    requests = {span.trace: span.id for span in passes if span.name == "replica"}
    passes = [span for span in passes if span.name == "pass"]
    assert {span.trace for span in passes} == {one[3:35] for one in parents}
    assert [(one.attributes["spanmill.pass.windows"], one.attributes["spanmill.pass.requests"]) for one in passes] == [
        (3, 3)
    ] * 3
    # One of them names the two others, and these name it.
    [first] = [span for span in passes if len(span.links) == 2]
    others = [span for span in passes if span is not first]
    assert sorted(first.links) == sorted((span.trace, requests[span.trace]) for span in others)
    assert [span.links for span in others] == [[(first.trace, requests[first.trace])]] * 2


def test_a_pass_that_fails_is_told_by_its_kind(traced: Replica, collector: Collector) -> None:
    with pytest.raises(RuntimeError):
        asyncio.run(traced.ask(replace(EMBED, texts=(FAILS,))))
    request = collector.the("replica")
    assert (request.failed, request.attributes["error.type"], request.message) == (True, "RuntimeError", "")
    # A request that fails alone is tried once more.
    passes = collector.wait_for("pass", count=2)
    assert [(span.failed, span.attributes["error.type"]) for span in passes] == [(True, "RuntimeError")] * 2
    assert collector.spans("decode") == []
    assert FAILS not in repr(collector.spans())


def test_a_refusal_is_told_by_its_reason(traced: Replica, tracing: Tracing, collector: Collector) -> None:
    strict = Replica(traced.actor, traced.card, limits=LimitParameters(max_windows=1), tracing=tracing)
    said = asyncio.run(strict.ask(replace(EMBED, texts=("a", "b"))))
    assert isinstance(said, Refusal)
    request = collector.the("replica")
    assert (request.failed, request.attributes["spanmill.refused"]) == (False, "too_many_windows")
    assert collector.spans("queue") == []


def test_a_request_that_came_too_late_has_waited_and_had_no_pass(traced: Replica, collector: Collector) -> None:
    said = asyncio.run(traced.ask(replace(EMBED, seconds=-1.0)))
    assert isinstance(said, Refusal)
    request = collector.the("replica")
    assert (request.failed, request.attributes["error.type"]) == (True, "deadline")
    assert [span.name for span in collector.wait_for("queue")] == ["queue"]
    assert collector.spans("pass", "decode") == []


def test_who_hangs_up_leaves_a_span_that_has_not_failed(traced: Replica, collector: Collector) -> None:
    async def hang_up() -> None:
        scheduler, lock = traced.actor.scheduler, traced.actor.engine.device_lock
        assert scheduler is not None
        with lock.offline(0.0):
            asked = asyncio.create_task(traced.ask(EMBED))
            while not len(scheduler):
                await asyncio.sleep(0.001)
            asked.cancel()
            await asyncio.wait([asked])

    asyncio.run(hang_up())
    request = collector.the("replica")
    assert (request.failed, request.attributes["spanmill.stopped"]) == (False, True)
    assert collector.the("queue").parent == request.id
