"""Work in threads beside the event loop, for callers who count what is in hand."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

TOKENISERS = 2
"""Threads of a replica that tokenise."""


async def in_thread(
    threads: ThreadPoolExecutor,
    function: Callable[Arguments, Result],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """What a function gives in a thread.

    A caller that is cancelled takes the call with it where no thread has begun it. Otherwise the caller stays until the
    thread has ended, so that what it counts as in hand is what threads have in hand.
    """
    future = threads.submit(function, *args, **kwargs)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([asyncio.wrap_future(future)])
        raise
