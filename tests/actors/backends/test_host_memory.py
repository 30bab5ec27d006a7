"""The host's memory is told, and a pass that takes much of it shows."""

import ctypes
import sys

import numpy as np
import pytest

from actors.backends.host_memory import HostMemory, _resident

MIB = 1 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_host_has_memory() -> None:
    limit = HostMemory().limit()
    assert limit is not None
    assert limit > 64 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_new_high_is_told_and_a_smaller_pass_is_not() -> None:
    memory = HostMemory()
    largest = np.ones(1, dtype=np.uint8)
    for size in (600 * MIB, 700 * MIB):
        memory.start()
        largest = np.ones(size, dtype=np.uint8)
    peak = memory.peak()
    assert peak is not None
    assert 600 * MIB < peak < 1600 * MIB
    del largest
    memory.start()
    small = np.ones(MIB, dtype=np.uint8)
    assert memory.peak() is None
    assert len(small) == MIB


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc gives holes back when told")
def test_holes_in_the_heap_are_given_back() -> None:
    patient, memory = HostMemory(), HostMemory(pause=0.0)
    memory.tidy()
    blocks = [np.ones(64 << 10, dtype=np.uint8) for _ in range(6400)]
    # Every thousandth stays: the heap cannot shrink from its end.
    kept = blocks[999::1000]
    del blocks
    holes = _resident()
    patient.tidy()
    assert _resident() > holes - 100 * MIB
    memory.tidy()
    assert _resident() < holes - 300 * MIB
    assert len(kept) == 6
