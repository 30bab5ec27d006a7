"""The lock of a device that online requests and offline shards share: online goes first, offline passes are short."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.parameters import SharingParameters


class DeviceLock:
    """Lets one pass at a time run on the device, and decides which is next."""

    def __init__(self, sharing: SharingParameters | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without `sharing` there are no online requests, and passes take as long as is best for throughput."""
        self._sharing = sharing
        self._clock = clock
        self._free = threading.Condition()
        self._taken = False
        self._online_waiting = 0
        self._last_online = -math.inf

    def arrived(self) -> None:
        """Notes that an online request came in: offline passes are short until none came for `sharing.idle_seconds`."""
        self._last_online = self._clock()

    def quantum(self) -> float:
        """Longest time that an offline pass may be predicted to take now, in seconds; inf without online traffic."""
        if self._sharing is None or self._clock() - self._last_online > self._sharing.idle_seconds:
            return math.inf
        return self._sharing.quantum_ms / 1000

    @contextmanager
    def online(self) -> Iterator[bool]:
        """Takes the device for online passes as soon as the pass that runs has ended. Yields True."""
        with self._free:
            self._online_waiting += 1
            self._free.wait_for(lambda: not self._taken)
            self._online_waiting -= 1
            self._taken = True
        try:
            yield True
        finally:
            self._leave()

    @contextmanager
    def offline(self, seconds: float) -> Iterator[bool]:
        """Takes the device for one offline pass, once it is free and no online pass waits for it.

        Args:
            seconds: predicted time of the pass; 0 for one that cannot be made smaller.

        Yields:
            Whether the device was taken. It is not where online traffic began meanwhile and the pass would take longer
            than the quantum allows now; the caller then chooses a smaller pass.
        """
        with self._free:
            self._free.wait_for(lambda: not self._taken and not self._online_waiting)
            granted = self._taken = seconds <= self.quantum()
        try:
            yield granted
        finally:
            if granted:
                self._leave()

    def _leave(self) -> None:
        with self._free:
            self._taken = False
            self._free.notify_all()
