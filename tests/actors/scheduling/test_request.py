"""The pending windows of an online request, and how it ends; test_scheduler tests the queue."""

import math
import time

import numpy as np
import pytest

from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.errors import DeadlinePassed, ModelError
from actors.parameters import BatchingParameters, QAParameters
from actors.scheduling.request import QueuedRequest
from tests.actors.helpers import TableBackend, prepare, word_spec


def _request(deadline: float = math.inf, rows: int = 1) -> QueuedRequest:
    engine = Engine(TableBackend(), word_spec(), BatchingParameters())
    pairs = [("w1", f"w2 w{n}") for n in range(rows)]
    task = engine.begin(prepare(engine.spec, QAParameters(), pairs)[0], Wanted(qa=QAParameters()))
    engine.finish(task)
    return QueuedRequest(task, deadline, arrived=time.monotonic())


def test_a_request_is_wanted_until_it_has_results_or_an_error() -> None:
    good, bad = _request(), _request()
    assert good.is_wanted()
    assert good.pending.tolist() == [0]
    good.settle(good.task.results())
    assert not good.is_wanted()
    assert good.future.result().answers is not None
    bad.settle(error=ModelError("broken"))
    with pytest.raises(ModelError, match="broken"):
        bad.future.result()


def test_a_request_that_is_too_late_is_told_so() -> None:
    late = _request(deadline=time.monotonic() - 1)
    assert not late.is_wanted()
    assert isinstance(late.future.exception(), DeadlinePassed)


def test_whoever_has_gone_gets_nothing_and_disturbs_nobody() -> None:
    gone = _request()
    assert gone.future.cancel()
    assert not gone.is_wanted()
    gone.settle(gone.task.results())


def test_windows_leave_as_they_have_had_their_pass_and_the_others_stay_in_order() -> None:
    request = _request(rows=6)
    request.slice_windows, request.first_slice_pending, request.seconds_per_window = 2, 2, 0.5
    assert request.next_slice.tolist() == [0, 1]
    request.complete(np.array([1]))
    assert request.pending.tolist() == [0, 2, 3, 4, 5]
    assert request.first_slice_pending == 1, "its first slice is not over before all of it had its pass"
    assert request.remainder_seconds == 2.0
    request.complete(np.array([0, 2]))
    assert request.pending.tolist() == [3, 4, 5]
    assert request.first_slice_pending == 0
    assert request.remainder_seconds == 1.5
