import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from actors.serving.replica.threads import in_thread


def test_it_gives_what_the_function_gives() -> None:
    with ThreadPoolExecutor(1) as threads:
        assert asyncio.run(in_thread(threads, divmod, 7, 2)) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            asyncio.run(in_thread(threads, divmod, 7, 0))


def test_a_caller_that_is_cancelled_stays_until_its_thread_has_ended() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait()

    async def use() -> None:
        with ThreadPoolExecutor(1) as threads:
            running = asyncio.create_task(in_thread(threads, work))
            waiting = asyncio.create_task(in_thread(threads, begun.clear))
            await asyncio.to_thread(begun.wait)
            for call in (running, waiting):
                call.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            running.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
            assert not running.done()
            may_end.set()
            await asyncio.wait([running])
            assert running.cancelled()
        assert begun.is_set(), "what no thread had begun is never begun"

    asyncio.run(use())
