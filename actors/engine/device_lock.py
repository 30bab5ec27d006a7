"""The device, shared by two classes of work: online goes first, and offline is never in its way for long."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.parameters import SharingParameters


class DeviceLock:
    """Whose turn it is on the device. One pass runs at a time."""

    def __init__(self, sharing: SharingParameters | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without `sharing`, nobody is online, and passes take as long as is best for throughput."""
        self._sharing = sharing
        self._clock = clock
        self._free = threading.Condition()
        self._taken = False
        self._online_waiting = 0
        self._last_online = -math.inf

    def arrived(self) -> None:
        """An online request has come: until none comes for a while, offline passes are short."""
        self._last_online = self._clock()

    def quantum(self) -> float:
        """Seconds that an offline pass may be predicted to take now; inf while nobody is online."""
        if self._sharing is None or self._clock() - self._last_online > self._sharing.idle_seconds:
            return math.inf
        return self._sharing.quantum_ms / 1000

    @contextmanager
    def online(self) -> Iterator[bool]:
        """The device for an online pass: waits for the pass that runs, and for nothing else; always True."""
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
        """The device for an offline pass, once no online pass waits.

        Args:
            seconds: that the pass is predicted to take; 0 for one that cannot be made smaller.

        Yields:
            False, without the device, where the quantum has shrunk below `seconds` meanwhile: choose again.
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
