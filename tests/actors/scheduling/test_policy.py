"""Who is next: calls in a time of their own, one pass of one window after another."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.parameters import BatchingParameters, QAParameters
from actors.scheduling.policy import SchedulingPolicy
from actors.scheduling.request import QueuedRequest
from tests.actors.helpers import TableBackend, prepare, word_spec

PASS = 0.05
ENGINE = Engine(TableBackend(), word_spec(), BatchingParameters())


def _call(arrived: float, windows: int) -> QueuedRequest:
    pairs = [("w1", f"w2 w{n % 40}") for n in range(windows)]
    work = ENGINE.begin(prepare(ENGINE.spec, QAParameters(), pairs)[0], Wanted(qa=QAParameters()))
    call = QueuedRequest(work, math.inf, arrived)
    call.turn = call.fresh = 1
    call.turn_seconds = call.window_seconds = PASS
    return call


@dataclass
class Device:
    """What became of the calls."""

    began: dict[QueuedRequest, float] = field(default_factory=dict)
    done: dict[QueuedRequest, float] = field(default_factory=dict)
    first_turns: int = 0
    """Passes that were some call's first, while rests waited too."""
    rests: int = 0
    """Passes that were not, while first turns waited too."""

    def run(self, coming: Iterable[QueuedRequest], until: float = math.inf) -> "Device":
        """Pass by pass, until all is done or the time is over."""
        agenda, now, waiting, left = (
            SchedulingPolicy(),
            0.0,
            list[QueuedRequest](),
            sorted(coming, key=lambda call: call.arrived),
        )
        while (left or waiting) and now < until:
            if not waiting:
                now = max(now, left[0].arrived)
            while left and left[0].arrived <= now:
                waiting.append(left.pop(0))
            call = agenda.next(waiting, now)
            if len({bool(each.fresh) for each in waiting}) == 2:
                self.first_turns += bool(call.fresh)
                self.rests += not call.fresh
            self.began.setdefault(call, now)
            now += PASS
            call.had(call.brings)
            if not len(call.waiting):
                self.done[call] = now
                waiting.remove(call)
        return self


def test_a_call_that_comes_waits_for_no_rest() -> None:
    large, small = _call(0.0, 20), _call(0.01, 1)
    device = Device().run([large, small])
    assert device.began[small] == pytest.approx(PASS)
    assert device.done[large] == pytest.approx(21 * PASS)


def test_calls_of_one_size_are_finished_in_the_order_they_came() -> None:
    calls = [_call(0.01 * n, 6) for n in range(8)]
    done = Device().run(calls).done
    assert sorted(calls, key=lambda call: done[call]) == calls
    assert done[calls[0]] < 16 * PASS, "the rests do not take turns: one after another is done"


def test_a_large_call_does_not_wait_for_a_huge_one_that_came_before() -> None:
    huge, large = [_call(0.0, 400) for _ in range(3)], _call(0.5, 5)
    done = Device().run([*huge, large]).done
    assert done[large] < 0.5 + 8 * PASS
    assert done[huge[0]] < done[huge[1]] < done[huge[2]]


def test_rests_get_a_third_where_first_turns_never_end() -> None:
    calls = [_call(0.0, 400), *(_call(n * PASS * 1.4, 1) for n in range(500))]
    device = Device().run(calls, until=30.0)
    assert 0.25 < device.rests / (device.rests + device.first_turns) < 0.38


@pytest.mark.parametrize("huge", [1, 3, 6])
def test_small_calls_hardly_notice_huge_ones(huge: int) -> None:
    """Where small calls alone would keep the device busy for half of the time."""
    small = [_call(n * 2 * PASS + 0.01, 1) for n in range(300)]
    device = Device().run([*(_call(0.0, 300) for _ in range(huge)), *small], until=30.0)
    assert max(device.began[call] - call.arrived for call in small) < (huge + 2) * PASS


def test_a_huge_call_is_done_in_the_end() -> None:
    """Where large calls that come later would keep the device busy for ever."""
    huge = _call(0.0, 20)
    larges = [_call(n * 4 * PASS, 4) for n in range(250)]
    done = Device().run([huge, *larges], until=50.0).done
    assert done[huge] < 30.0
