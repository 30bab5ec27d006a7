"""The lock of a device that online requests and offline shards share: online goes first, offline passes are short."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.parameters import SharingParameters

_OFFLINE_PASSES = 2
"""Offline passes that the device has at a time: one that it computes, and one that it begins in the next moment."""


class DeviceLock:
    """Decides whose passes the device has: those of online requests, or a few of shards."""

    def __init__(self, sharing: SharingParameters | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without `sharing` there are no online requests, and passes take as long as is best for throughput."""
        self._sharing = sharing
        self._clock = clock
        self._free = threading.Condition()
        self._is_online = False
        self._offline: list[float] = []
        self._online_waiting = 0
        self._last_online = -math.inf

    def arrived(self) -> None:
        """Notes that an online request came in: offline passes are short until none came for `sharing.idle_seconds`."""
        self._last_online = self._clock()

    def longest_pass(self) -> float:
        """Longest that one offline pass should be predicted to take now, in seconds: all of them fit the quantum."""
        return self.quantum() / _OFFLINE_PASSES

    def quantum(self) -> float:
        """Longest time that the offline passes which the device has may be predicted to take together now, in seconds;
        inf without online traffic.
        """
        if self._sharing is None or self._clock() - self._last_online > self._sharing.idle_seconds:
            return math.inf
        return self._sharing.quantum_ms / 1000

    @property
    def has_room(self) -> bool:
        """Whether an offline pass would have the device at once, for now: another may take it in the next moment."""
        with self._free:
            return self._has_room()

    @contextmanager
    def online(self) -> Iterator[bool]:
        """Takes the device for online passes as soon as it is done with those that it has. Yields True."""
        with self._free:
            self._online_waiting += 1
            self._free.wait_for(lambda: not self._is_online and not self._offline)
            self._online_waiting -= 1
            self._is_online = True
        try:
            yield True
        finally:
            with self._free:
                self._is_online = False
                self._free.notify_all()

    @contextmanager
    def offline(self, seconds: float, is_least: bool = False, waits: bool = True) -> Iterator[bool]:
        """Takes the device for one offline pass, once it has room for another and no online pass waits for it.

        Args:
            seconds: predicted time of the pass.
            is_least: that it cannot be made smaller; then it may take longer than the quantum, alone.
            waits: whether to wait for that, which nobody may who has another pass on the device still.

        Yields:
            Whether the device was taken. It is not where online traffic began meanwhile and the pass would take longer
            than the quantum allows now; the caller then chooses a smaller pass.
        """
        with self._free:
            if waits:
                self._free.wait_for(lambda: self._has_room(seconds))
            granted = self._has_room(seconds) and (is_least or seconds <= self.quantum())
            if granted:
                self._offline.append(seconds)
        try:
            yield granted
        finally:
            if granted:
                with self._free:
                    self._offline.remove(seconds)
                    self._free.notify_all()

    def _has_room(self, seconds: float = 0.0) -> bool:
        if self._is_online or self._online_waiting:
            return False
        others = len(self._offline)
        return not others or (others < _OFFLINE_PASSES and sum(self._offline, seconds) <= self.quantum())
