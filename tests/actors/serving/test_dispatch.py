"""What a gateway does with what replicas say, by a handle that says what it is told; test_serving has real replicas."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from ray.exceptions import RayActorError

from actors.serving.dispatch import HandleDispatcher
from actors.serving.parameters import LimitParameters
from actors.serving.requests import Refusal, Refused, Reply, Request, Timing

FULL = Refusal(429, "queue_full", "full", retry_after=1)
ANSWERED = Reply((3,), Timing(1.0, 1.0, 1.0))
REQUEST = Request(id="one", task="embed", texts=("a text",))


class _Handle:
    """Says one thing after another, each after so many seconds."""

    def __init__(self, *said: tuple[float, object]) -> None:
        self._said = iter(said)
        self.asked = 0
        self.ask = self

    def remote(self, request: Request) -> "asyncio.Task[Any]":
        self.asked += 1
        seconds, what = next(self._said)

        async def say() -> object:
            await asyncio.sleep(seconds)
            if isinstance(what, Exception):
                raise what
            return what

        return asyncio.get_running_loop().create_task(say())


def _ask(handle: _Handle, request: Request = REQUEST) -> Reply:
    async def ask() -> Reply:
        return await HandleDispatcher(handle, LimitParameters()).ask(request)

    return asyncio.run(ask())


def _refusal(act: Callable[[], object]) -> Refusal:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.refusal


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.serving.dispatch._HELD_SECONDS", 0.05)
    monkeypatch.setattr("actors.serving.dispatch._AGAIN_SECONDS", (0.0, 0.01))


def test_a_full_replica_is_a_refusal_at_once() -> None:
    handle = _Handle((0.0, FULL))
    assert _refusal(lambda: _ask(handle)).status == 429
    assert handle.asked == 1


def test_a_request_that_waited_for_a_replica_is_not_sent_away_when_that_is_full() -> None:
    assert _ask(_Handle((0.1, FULL), (0.0, FULL), (0.0, ANSWERED))) == ANSWERED


def test_a_request_whose_replica_died_is_asked_once_more_and_not_sent_away_either() -> None:
    assert _ask(_Handle((0.0, RayActorError()), (0.0, FULL), (0.0, ANSWERED))) == ANSWERED
    crashed = _refusal(lambda: _ask(_Handle((0.0, RayActorError()), (0.0, RayActorError()))))
    assert (crashed.status, crashed.reason) == (422, "crashed")


def test_whoever_is_held_is_held_until_the_deadline() -> None:
    request = Request(id="one", task="embed", texts=("a text",), seconds=0.3)
    late = _refusal(lambda: _ask(_Handle((0.1, FULL), *[(0.02, FULL)] * 50), request))
    assert (late.status, late.reason) == (504, "deadline")
