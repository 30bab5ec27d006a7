"""One device, two classes: who waits for whom, and for how long."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.device_lock import DeviceLock
from actors.parameters import SharingParameters
from tests.waiting import until

SHARING = SharingParameters(quantum_ms=50, idle_seconds=2)


class Clock:
    """A clock that stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_device_for_shards_alone_has_no_quantum() -> None:
    device_lock = DeviceLock()
    device_lock.arrived()
    assert device_lock.quantum() == math.inf


def test_the_quantum_closes_with_a_request_and_opens_when_none_comes() -> None:
    clock = Clock()
    device_lock = DeviceLock(SHARING, clock)
    assert device_lock.quantum() == math.inf, "nobody has come yet"
    for _ in range(2):
        device_lock.arrived()
        assert device_lock.quantum() == 0.05
        clock.now += 2
        assert device_lock.quantum() == 0.05
        clock.now += 0.1
        assert device_lock.quantum() == math.inf


@given(steps=st.lists(st.tuples(st.sampled_from(["arrives", "waits"]), st.floats(0, 3)), max_size=20))
def test_the_quantum_is_open_just_when_the_last_request_is_long_ago(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    device_lock = DeviceLock(SHARING, clock)
    last = -math.inf
    for step, seconds in steps:
        if step == "arrives":
            device_lock.arrived()
            last = clock.now
        else:
            clock.now += seconds
        assert device_lock.quantum() == (math.inf if clock.now - last > 2 else 0.05)


def test_an_offline_pass_that_has_become_too_long_is_sent_back_without_the_device() -> None:
    device_lock = DeviceLock(SHARING, Clock())
    device_lock.arrived()
    with device_lock.offline(0.06) as granted:
        assert not granted
        with device_lock.online() as other:
            assert other, "the device is free"
    for seconds, is_least in ((0.05, False), (0.06, True)):
        with device_lock.offline(seconds, is_least) as granted:
            assert granted


def test_offline_passes_fit_the_quantum_together() -> None:
    device_lock = DeviceLock(SHARING, Clock())
    with device_lock.offline(0.03), device_lock.offline(0.03, waits=False) as second:
        assert second, "nobody has come yet"
    device_lock.arrived()
    assert device_lock.longest_pass() == 0.025
    with device_lock.offline(0.03):
        with device_lock.offline(0.02, waits=False) as fits:
            assert fits
        for is_least in (False, True):
            with device_lock.offline(0.03, is_least, waits=False) as fits:
                assert not fits


def test_a_pass_that_does_not_fit_beside_another_waits_for_its_end() -> None:
    device_lock, order = DeviceLock(SHARING, Clock()), list[str]()
    device_lock.arrived()

    def wait() -> None:
        with device_lock.offline(0.03) as granted:
            order.append(f"granted: {granted}")

    with ThreadPoolExecutor(1) as pool, device_lock.offline(0.03):
        pool.submit(wait)
        order.append("the first is there")
    assert order == ["the first is there", "granted: True"]


def test_the_quantum_counts_when_the_turn_comes_not_when_the_waiting_began() -> None:
    device_lock = DeviceLock(SHARING, Clock())
    answer: list[bool] = []

    def wait() -> None:
        with device_lock.offline(1.0) as granted:
            answer.append(granted)

    with device_lock.offline(1.0) as granted, device_lock.offline(1.0) as second:
        assert granted
        assert second
        waiting = threading.Thread(target=wait)
        waiting.start()
        device_lock.arrived()
    waiting.join()
    assert answer == [False]


@pytest.mark.parametrize("turn", [lambda lock: lock.online(), lambda lock: lock.offline(0.0)])
def test_a_pass_that_fails_leaves_the_device(turn: Callable[[DeviceLock], AbstractContextManager[bool]]) -> None:
    device_lock = DeviceLock(SHARING)
    with pytest.raises(ZeroDivisionError), turn(device_lock):
        raise ZeroDivisionError
    with device_lock.offline(0.0) as granted:
        assert granted


@pytest.mark.parametrize("offline", [1, 3])
def test_an_online_pass_waits_for_the_passes_that_the_device_has_and_for_no_other(offline: int) -> None:
    device_lock, order = DeviceLock(SHARING), list[str]()

    def run(name: str, turn: AbstractContextManager[bool]) -> None:
        with turn:
            order.append(name)

    with ThreadPoolExecutor(offline + 1) as pool, device_lock.offline(0.0), device_lock.offline(0.0):
        for _ in range(offline):
            pool.submit(run, "offline", device_lock.offline(0.0))
        pool.submit(run, "online", device_lock.online())
        until(lambda: device_lock._online_waiting == 1)
        assert order == [], "the device has two"
    assert order == ["online"] + ["offline"] * offline


def test_two_offline_passes_or_one_online_pass_and_never_both() -> None:
    device_lock, inside, most = DeviceLock(SHARING), list[bool](), 0

    def work(online: bool) -> int:
        nonlocal most
        for _ in range(100):
            with device_lock.online() if online else device_lock.offline(0.0) as granted:
                assert granted
                inside.append(online)
                together = list(inside)
                most = max(most, len(together))
                assert together == [True] or not any(together)
                inside.remove(online)
        return 100

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(work, [True, False, True, False, False])) == 500
    assert most <= 2


def test_whoever_has_a_pass_on_the_device_is_told_at_once_whether_it_takes_another() -> None:
    device_lock = DeviceLock(SHARING)
    with device_lock.offline(0.0), device_lock.offline(0.0, waits=False) as second:
        assert second
        assert not device_lock.has_room
        with device_lock.offline(0.0, waits=False) as third:
            assert not third
    with ThreadPoolExecutor(1) as pool, device_lock.offline(0.0):
        online = pool.submit(device_lock.online().__enter__)
        until(lambda: device_lock._online_waiting == 1)
        with device_lock.offline(0.0, waits=False) as behind:
            assert not behind, "a request comes first"
            assert not device_lock.has_room
    assert online.result()
