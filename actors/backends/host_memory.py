"""Memory of a device, and that of the host: how much is free for a pass, and how much a pass took."""

import ctypes
import resource
import time
from pathlib import Path
from typing import Protocol

_PAGE = resource.getpagesize()
_LOOSE = 256 << 20
"""Bytes that may be resident beyond what was after the last trim."""


class DeviceMemory(Protocol):
    """Memory of one device."""

    def limit(self) -> int | None:
        """Bytes that are free for a pass; None where that cannot be told."""
        ...

    def start(self) -> None:
        """A pass begins."""
        ...

    def peak(self) -> int | None:
        """Bytes that the pass held at its peak, beyond what was held before; None where that cannot be told."""
        ...

    def release(self) -> None:
        """Gives back what a failed pass left in caches."""
        ...

    def tidy(self) -> None:
        """Between passes: gives back what nothing uses, where that is much."""
        ...


class HostMemory:
    """Of this process on Linux; elsewhere nothing can be told.

    The process's own high-water mark never falls, so only a pass that goes beyond all before it tells its size.

    Passes of ever new sizes leave the C library's heap full of holes, which it keeps: a process that began at 700 MB
    had 2 GB after two minutes of them, and more later. So the holes are given back now and then.
    """

    def __init__(self, pause: float = 10.0) -> None:
        """Takes the seconds between two trims, at least: what is given back has to be faulted in again."""
        self._resident = 0
        self._high = 0
        self._pause = pause
        self._trimmed, self._after_trim = time.monotonic(), 0

    def limit(self) -> int | None:
        """What the kernel says is available, or what the control group still allows, if that is less."""
        limits = [amount for amount in (_available(), _group_rest()) if amount is not None]
        return min(limits, default=None)

    def start(self) -> None:
        """Notes what is resident."""
        self._resident, self._high = _resident(), _high_water()

    def peak(self) -> int | None:
        """From the process's high-water mark."""
        high = _high_water()
        # The kernel counts both lazily and apart from each other, so a small rise can seem to be below what was held.
        return high - self._resident if self._resident and high > max(self._high, self._resident) else None

    def release(self) -> None:
        """Nothing is cached."""

    def tidy(self) -> None:
        """Gives holes back, where there are many, and not all the time."""
        if time.monotonic() - self._trimmed >= self._pause and _resident() > self._after_trim + _LOOSE:
            _trim()
            self._trimmed, self._after_trim = time.monotonic(), _resident()


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others do not
    if trim is not None:
        trim(0)


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _high_water() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _group_rest() -> int | None:
    try:
        most = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        held = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except OSError:
        return None
    return None if most == "max" else max(int(most) - held, 0)
