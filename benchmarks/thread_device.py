"""A device that works beside whoever calls it, as a GPU does, for machines that have none: a thread."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from actors.arrays import Floats
from actors.backends.base import Backend, BatchLayout, PassOutput, PassRequest
from actors.batch import Batch


class Event(NamedTuple):
    """Something that happened to a pass."""

    what: str
    """submitted, begun, computed or collected"""
    number: int
    """Of the pass, in the order of submission."""
    at: float
    """Seconds of a clock that no one sets."""


class ThreadDevice:
    """Runs the passes of another backend in a thread, and writes down what happens, in its order."""

    def __init__(self, inner: Backend, before_pass: Callable[[], object] = lambda: None) -> None:
        """Takes what does the work, and what happens in the thread before each pass, such as the time that it takes."""
        self._inner, self._before_pass = inner, before_pass
        self._thread = ThreadPoolExecutor(1, "device")
        self._numbers = count()
        self.events: list[Event] = []

    @property
    def device(self) -> str:
        """A name."""
        return "thread"

    @property
    def layout(self) -> BatchLayout:
        """That of the backend inside."""
        return self._inner.layout

    @property
    def hidden_size(self) -> int:
        """That of the backend inside."""
        return self._inner.hidden_size

    @property
    def memory_limit(self) -> int | None:
        """That of the backend inside."""
        return self._inner.memory_limit

    def submit(self, request: PassRequest) -> "_PassOnThread":
        """See `Backend.submit`."""
        number = next(self._numbers)
        self.happened("submitted", number)
        return _PassOnThread(self, number, self._thread.submit(self._compute, number, request))

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        """See `Backend.forward`."""
        return self.submit(PassRequest(batch, want_spans, pool_weights, want_hidden)).collect()

    def happened(self, what: str, number: int) -> None:
        """Writes down an event."""
        self.events.append(Event(what, number, time.perf_counter()))

    def _compute(self, number: int, request: PassRequest) -> PassOutput:
        self.happened("begun", number)
        try:
            self._before_pass()
            return self._inner.submit(request).collect()
        finally:
            self.happened("computed", number)


@dataclass(frozen=True)
class _PassOnThread:
    device: ThreadDevice = field(repr=False)
    number: int
    computing: Future[PassOutput]

    @property
    def is_done(self) -> bool:
        return self.computing.done()

    def collect(self) -> PassOutput:
        try:
            return self.computing.result()
        finally:
            self.device.happened("collected", self.number)
