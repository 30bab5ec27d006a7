"""What a gateway does with what replicas say, by a handle that says what it is told; test_serving has real replicas."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError

from actors.serving.gateway.handle_client import HandleClient
from actors.serving.parameters import LimitParameters
from actors.serving.types import Refusal, Refused, Reply, Request, Timing
from actors.tenants import DEFAULT_TENANT, NO_TENANT, TenantWeights
from actors.tracing.context import TraceContext
from actors.tracing.tracing import Tracing
from tests.otlp_receiver import Collector
from tests.tracing import collector as collector
from tests.tracing import tracing as tracing

FULL = Refusal(429, "queue_full", "full", retry_after=1)
ANSWERED = Reply((3,), Timing(1.0, 1.0, 1.0))
REQUEST = Request(id="one", task="embed", texts=("a text",))


class _Handle:
    """Says one thing after another, each after so many seconds."""

    def __init__(self, *said: tuple[float, object]) -> None:
        self._said = iter(said)
        self.asked = 0
        self.requests: list[Request] = []
        self.ask = self.card = self

    def remote(self, *request: Request) -> "asyncio.Task[Any]":
        self.asked += 1
        self.requests += request
        seconds, what = next(self._said)

        async def say() -> object:
            await asyncio.sleep(seconds)
            if isinstance(what, Exception):
                raise what
            return what

        return asyncio.get_running_loop().create_task(say())


def _ask(handle: _Handle, request: Request = REQUEST) -> Reply:
    async def ask() -> Reply:
        return await HandleClient(handle, LimitParameters()).ask(request)

    return asyncio.run(ask())


def _refusal(act: Callable[[], object]) -> Refusal:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.refusal


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.serving.gateway.handle_client._HELD_SECONDS", 3600.0)
    monkeypatch.setattr("actors.serving.gateway.handle_client._RETRY_PAUSE", (0.0, 0.01))
    monkeypatch.setattr("actors.serving.gateway.handle_client._TOGETHER_SECONDS", 0.01)


def test_a_full_replica_is_a_refusal_at_once() -> None:
    handle = _Handle((0.0, FULL))
    assert _refusal(lambda: _ask(handle)).status == 429
    assert handle.asked == 1


@pytest.fixture
def _held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is refused after so long was held; else a busy machine could make that of anybody."""
    monkeypatch.setattr("actors.serving.gateway.handle_client._HELD_SECONDS", 0.05)


@pytest.mark.usefixtures("_held")
def test_a_request_that_waited_for_a_replica_is_not_sent_away_when_that_is_full() -> None:
    assert _ask(_Handle((0.1, FULL), (0.0, FULL), (0.0, ANSWERED))) == ANSWERED


def test_a_request_whose_replica_died_is_asked_once_more_and_not_sent_away_either() -> None:
    assert _ask(_Handle((0.0, RayActorError()), (0.0, FULL), (0.0, ANSWERED))) == ANSWERED
    crashed = _refusal(lambda: _ask(_Handle((0.0, RayActorError()), (0.0, RayActorError()))))
    assert (crashed.status, crashed.reason) == (422, "crashed")


def test_only_the_request_that_kills_replicas_alone_is_refused_for_it() -> None:
    """A service with one replica at a time, which dies of one request and takes all others in its hands with it."""

    class _Fragile:
        def __init__(self) -> None:
            self.ask = self
            self.inside: list[asyncio.Future[Any]] = []

        def remote(self, request: Request) -> "asyncio.Future[Any]":
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self.inside.append(future)
            loop.call_later(0.02, self._end, request, future)
            return future

        def _end(self, request: Request, future: "asyncio.Future[Any]") -> None:
            if future.done():
                return
            if request.id != "poison":
                future.set_result(ANSWERED)
                return
            for other in self.inside:
                if not other.done():
                    other.set_exception(RayActorError())

    async def ask_all() -> list[Any]:
        client = HandleClient(_Fragile(), LimitParameters())
        poison = Request(id="poison", task="embed", texts=("a text",))
        asked = (client.ask(one) for one in (poison, *[REQUEST] * 10))
        return await asyncio.gather(*asked, return_exceptions=True)

    first, *others = asyncio.run(ask_all())
    assert isinstance(first, Refused)
    assert first.refusal.reason == "crashed"
    assert others == [ANSWERED] * 10


def test_a_suspect_waits_for_the_others_no_longer_than_to_its_deadline() -> None:
    async def ask_two() -> list[Any]:
        said = [(0.0, RayActorError()), (0.0, RayActorError()), (1.0, ANSWERED)]
        client = HandleClient(_Handle(*said), LimitParameters())
        short = Request(id="two", task="embed", texts=("a text",), seconds=0.3)
        return list(await asyncio.gather(client.ask(REQUEST), client.ask(short), return_exceptions=True))

    first, second = asyncio.run(ask_two())
    assert first == ANSWERED
    assert isinstance(second, Refused)
    assert second.refusal.reason == "deadline"


def test_a_replica_that_cannot_be_reached_for_the_moment_is_no_crash() -> None:
    unreachable = (0.0, ActorUnavailableError("away", None))
    assert _ask(_Handle(unreachable, unreachable, unreachable, (0.0, ANSWERED))) == ANSWERED


def test_one_that_ray_ended_for_its_memory_is() -> None:
    ended = OutOfMemoryError("too much")  # type: ignore[no-untyped-call]
    assert _ask(_Handle((0.0, ended), (0.0, ANSWERED))) == ANSWERED
    assert _refusal(lambda: _ask(_Handle(*[(0.0, ended)] * 2))).reason == "crashed"


def test_what_any_replica_knows_is_asked_of_another_when_one_dies() -> None:
    async def card(handle: _Handle) -> object:
        return await HandleClient(handle, LimitParameters()).card()

    handle = _Handle((0.0, RayActorError()), (0.0, "the card"))
    assert asyncio.run(card(handle)) == "the card"
    dead = _refusal(lambda: asyncio.run(card(_Handle(*[(0.0, RayActorError())] * 2))))
    assert (dead.status, dead.reason) == (503, "not_ready")


@pytest.mark.usefixtures("_held")
def test_whoever_is_held_is_held_until_the_deadline() -> None:
    request = Request(id="one", task="embed", texts=("a text",), seconds=0.3)
    late = _refusal(lambda: _ask(_Handle((0.1, FULL), *[(0.02, FULL)] * 50), request))
    assert (late.status, late.reason) == (504, "deadline")


def _ready(client: HandleClient, times: int) -> list[Refusal | None]:
    async def one() -> Refusal | None:
        try:
            await client.ready()
        except Refused as refused:
            return refused.refusal
        return None

    async def all_at_once() -> list[Refusal | None]:
        return await asyncio.gather(*(one() for _ in range(times)))

    return asyncio.run(all_at_once())


@pytest.mark.parametrize(
    ("said", "status"), [(ANSWERED, None), (FULL, None), (Refusal(500, "internal", "no"), 503), (RayActorError(), 503)]
)
def test_a_thousand_probes_are_one_word_and_no_request(said: object, status: int | None) -> None:
    handle = _Handle(*[(0.01, said)] * 2)
    client = HandleClient(handle, LimitParameters(max_in_flight=1))
    # As where all of the gateway's room is taken.
    client._in_flight[DEFAULT_TENANT] = 1
    outcomes = _ready(client, 1000)
    assert {None if refusal is None else refusal.status for refusal in outcomes} == {status}
    assert handle.asked == (2 if isinstance(said, RayActorError) else 1)


def test_a_request_is_tried_a_third_time_where_another_may_have_killed_the_second_replica() -> None:
    """It is alone among those tried again, but not in its replica."""
    handles = [_Handle(*[(0.0, RayActorError())] * 2, (0.0, ANSWERED)), _Handle(*[(0.0, RayActorError())] * 3)]

    async def ask() -> list[object]:
        clients = [HandleClient(handle, LimitParameters()) for handle in handles]
        for client in clients:
            # As if another request had learnt just now that its replica is dead.
            client._died.append(object())
        return await asyncio.gather(*(client.ask(REQUEST) for client in clients), return_exceptions=True)

    answered, refused = asyncio.run(ask())
    assert answered == ANSWERED
    assert isinstance(refused, Refused)
    assert refused.refusal.reason == "crashed"
    assert [handle.asked for handle in handles] == [3, 3]


def test_who_hangs_up_or_bears_the_same_name_leaves_no_suspicion_behind() -> None:
    async def ask() -> list[object]:
        client = HandleClient(_Handle((0.0, RayActorError())), LimitParameters())
        call = asyncio.create_task(client.ask(REQUEST))
        while not client._died:
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert client._died == []
        # Two of one id, and one of them may have killed the replica of both.
        client._died.append(object())
        assert await client._others_died()
        client._died.clear()
        assert not await client._others_died()
        return list(client._died)

    assert asyncio.run(ask()) == []


def test_every_call_of_a_traced_request_is_a_span_of_which_its_replica_is_told(
    tracing: Tracing, collector: Collector
) -> None:
    parent = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    handle = _Handle((0, RayActorError()), (0, ANSWERED))

    async def ask() -> Reply:
        return await HandleClient(handle, LimitParameters(), tracing).ask(replace(REQUEST, trace=parent))

    assert asyncio.run(ask()) == ANSWERED
    died, answered = collector.wait_for("call replica", count=2)
    assert [died.parent, answered.parent] == ["b7ad6b7169203331"] * 2
    assert [(died.failed, died.attributes), (answered.failed, answered.attributes)] == [
        (True, {"error.type": "RayActorError"}),
        (False, {}),
    ]
    told = [request.trace for request in handle.requests]
    assert [context and f"{context.span_id:016x}" for context in told] == [died.id, answered.id]


@pytest.mark.parametrize(("said", "reason", "failed"), [(FULL, "queue_full", False), (None, "deadline", True)])
def test_a_call_that_is_refused_or_late_says_why(
    tracing: Tracing, collector: Collector, said: Refusal | None, reason: str, failed: bool
) -> None:
    parent = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    handle = _Handle((3600 if said is None else 0, said))

    async def ask() -> Reply:
        request = replace(REQUEST, trace=parent, seconds=0.01 if said is None else 60)
        return await HandleClient(handle, LimitParameters(), tracing).ask(request)

    assert _refusal(lambda: asyncio.run(ask())).reason == reason
    span = collector.the("call replica")
    assert (span.attributes["spanmill.refused"], span.failed) == (reason, failed)


def test_a_probe_is_no_tenants() -> None:
    handle = _Handle((0.0, ANSWERED))
    assert _ready(HandleClient(handle, LimitParameters()), 1) == [None]
    assert [(one.tenant, one.is_probe) for one in handle.requests] == [(NO_TENANT, True)]


def test_a_tenant_whose_clients_hang_up_has_all_of_its_room_again() -> None:
    async def ask() -> list[object]:
        handle = _Handle(*[(3600.0, ANSWERED)] * 3, (0.0, ANSWERED))
        weights = TenantWeights({"a": 1.0, "b": 1.0})
        client = HandleClient(handle, LimitParameters(max_in_flight=4), weights=weights)
        # The half that is anybody's, and a half of the half that is kept.
        calls = [asyncio.create_task(client.ask(replace(REQUEST, tenant="a"))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="3 requests are on their way"):
            await client.ask(replace(REQUEST, tenant="a"))
        assert await client.ask(replace(REQUEST, tenant="b")) == ANSWERED
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        return list(client._in_flight.values())

    assert asyncio.run(ask()) == [0, 0]
