"""The order of requests on a simulated device: one pass of one window after another, in simulated time."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.parameters import BatchingParameters, QAParameters
from actors.scheduling.policy import SchedulingPolicy, due
from actors.scheduling.request import QueuedRequest
from tests.actors.helpers import TableBackend, prepare, word_spec

PASS = 0.05
ENGINE = Engine(TableBackend(), word_spec(), BatchingParameters())


def _request(arrived: float, windows: int) -> QueuedRequest:
    pairs = [("w1", f"w2 w{n % 40}") for n in range(windows)]
    task = ENGINE.begin(prepare(ENGINE.spec, QAParameters(), pairs)[0], Wanted(qa=QAParameters()))
    request = QueuedRequest(task, math.inf, arrived)
    request.slice_windows = request.first_slice_pending = 1
    request.slice_seconds = request.seconds_per_window = PASS
    request.due = due(arrived, request.own_seconds, max_wait=2.0)
    return request


@dataclass
class Device:
    """What became of the requests."""

    began: dict[QueuedRequest, float] = field(default_factory=dict)
    done: dict[QueuedRequest, float] = field(default_factory=dict)
    first_slices: int = 0
    """Passes that were some request's first slice, while remainders waited too."""
    remainders: int = 0
    """Passes that were not, while first slices waited too."""

    def run(self, coming: Iterable[QueuedRequest], until: float = math.inf) -> "Device":
        """Pass by pass, until all is done or the time is over."""
        policy, now, waiting, left = (
            SchedulingPolicy(),
            0.0,
            list[QueuedRequest](),
            sorted(coming, key=lambda request: request.arrived),
        )
        while (left or waiting) and now < until:
            if not waiting:
                now = max(now, left[0].arrived)
            while left and left[0].arrived <= now:
                waiting.append(left.pop(0))
            request = policy.next(waiting, now)
            if len({bool(each.first_slice_pending) for each in waiting}) == 2:
                self.first_slices += bool(request.first_slice_pending)
                self.remainders += not request.first_slice_pending
            self.began.setdefault(request, now)
            now += PASS
            if not request.first_slice_pending:
                policy.ran_remainder(PASS)
            request.complete(request.next_slice)
            if not len(request.pending):
                self.done[request] = now
                waiting.remove(request)
        return self


def test_a_request_that_comes_waits_for_no_remainder() -> None:
    large, small = _request(0.0, 20), _request(0.01, 1)
    device = Device().run([large, small])
    assert device.began[small] == pytest.approx(PASS)
    assert device.done[large] == pytest.approx(21 * PASS)


def test_requests_of_one_size_are_finished_in_the_order_they_came() -> None:
    requests = [_request(0.01 * n, 6) for n in range(8)]
    done = Device().run(requests).done
    assert sorted(requests, key=lambda request: done[request]) == requests
    assert done[requests[0]] < 16 * PASS, "the remainders do not take turns: one after another is done"


def test_a_large_request_does_not_wait_for_a_huge_one_that_came_before() -> None:
    huge, large = [_request(0.0, 400) for _ in range(3)], _request(0.5, 5)
    done = Device().run([*huge, large]).done
    assert done[large] < 0.5 + 8 * PASS
    assert done[huge[0]] < done[huge[1]] < done[huge[2]]


def test_remainders_get_a_third_where_first_slices_never_end() -> None:
    requests = [_request(0.0, 400), *(_request(n * PASS * 1.4, 1) for n in range(500))]
    device = Device().run(requests, until=30.0)
    assert 0.25 < device.remainders / (device.remainders + device.first_slices) < 0.38


@pytest.mark.parametrize("huge", [1, 3, 6])
def test_small_requests_hardly_notice_huge_ones(huge: int) -> None:
    """Where small requests alone would keep the device busy for half of the time."""
    small = [_request(n * 2 * PASS + 0.01, 1) for n in range(300)]
    device = Device().run([*(_request(0.0, 300) for _ in range(huge)), *small], until=30.0)
    assert max(device.began[request] - request.arrived for request in small) < (huge + 2) * PASS


def test_a_huge_request_is_done_in_the_end() -> None:
    """Where large requests that come later would keep the device busy for ever."""
    huge = _request(0.0, 20)
    larges = [_request(n * 4 * PASS, 4) for n in range(250)]
    done = Device().run([huge, *larges], until=50.0).done
    assert done[huge] < 30.0
