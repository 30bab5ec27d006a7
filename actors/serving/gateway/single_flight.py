"""One call for all who ask at the same time, whose outcome is kept for a moment."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Outcome = TypeVar("Outcome")


class SingleFlight(Generic[Outcome]):
    """Shares a call: one runs at a time, and whoever asks within some seconds of its end gets what it gave."""

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, Outcome]],
        keep_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes what is to be called.

        Args:
            work: what it raises is kept as what it returns is.
            clock: in seconds.
        """
        self._work = work
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._call: asyncio.Task[Outcome] | None = None
        self._ended = 0.0

    async def __call__(self) -> Outcome:
        """The outcome. A caller that is cancelled leaves the call to the others."""
        call = self._call
        if call is None or call.cancelled() or (call.done() and self._clock() - self._ended >= self._keep_seconds):
            call = self._call = asyncio.create_task(self._work())
            call.add_done_callback(self._note_end)
        return await asyncio.shield(call)

    def _note_end(self, call: asyncio.Task[Outcome]) -> None:
        self._ended = self._clock()
        # Nobody may be left who wants to know; asyncio would complain then.
        if not call.cancelled():
            call.exception()
