import asyncio

import pytest

from actors.serving.gateway.single_flight import SingleFlight


class _Work:
    """Counts its calls; each ends when it may."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.may_end = asyncio.Event()
        self.error = error

    async def __call__(self) -> int:
        self.calls += 1
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return self.calls


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_all_who_ask_meanwhile_and_soon_after_share_a_call() -> None:
    async def use() -> None:
        work, clock = _Work(), _Clock()
        shared = SingleFlight(work, 1.0, clock)
        asking = [asyncio.create_task(shared()) for _ in range(100)]
        await asyncio.sleep(0)
        clock.now = 50.0
        work.may_end.set()
        assert await asyncio.gather(*asking) == [1] * 100
        clock.now = 50.9
        assert await shared() == 1
        clock.now = 51.0
        assert await shared() == 2

    asyncio.run(use())


def test_who_leaves_leaves_the_call_to_the_others() -> None:
    async def use() -> None:
        work = _Work()
        shared = SingleFlight(work, 1.0)
        goes, stays = asyncio.create_task(shared()), asyncio.create_task(shared())
        await asyncio.sleep(0)
        goes.cancel()
        await asyncio.sleep(0)
        work.may_end.set()
        assert await stays == 1

    asyncio.run(use())


def test_an_error_is_kept_as_an_outcome_is() -> None:
    async def use() -> None:
        work = _Work(ValueError("no"))
        work.may_end.set()
        shared = SingleFlight(work, 60.0)
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await shared()
        assert work.calls == 1

    asyncio.run(use())
