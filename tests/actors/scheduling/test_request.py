"""What is left of an online call, and how it ends; the queue's part is test_desk's."""

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


def _call(deadline: float = math.inf, rows: int = 1) -> QueuedRequest:
    engine = Engine(TableBackend(), word_spec(), BatchingParameters())
    pairs = [("w1", f"w2 w{n}") for n in range(rows)]
    work = engine.begin(prepare(engine.spec, QAParameters(), pairs)[0], Wanted(qa=QAParameters()))
    engine.finish(work)
    return QueuedRequest(work, deadline, arrived=time.monotonic())


def test_a_call_is_wanted_until_it_has_results_or_an_error() -> None:
    good, bad = _call(), _call()
    assert good.is_wanted()
    assert good.waiting.tolist() == [0]
    good.settle(good.work.results())
    assert not good.is_wanted()
    assert good.future.result().answers is not None
    bad.settle(error=ModelError("broken"))
    with pytest.raises(ModelError, match="broken"):
        bad.future.result()


def test_a_call_that_is_too_late_is_told_so() -> None:
    late = _call(deadline=time.monotonic() - 1)
    assert not late.is_wanted()
    assert isinstance(late.future.exception(), DeadlinePassed)


def test_whoever_has_gone_gets_nothing_and_disturbs_nobody() -> None:
    gone = _call()
    assert gone.future.cancel()
    assert not gone.is_wanted()
    gone.settle(gone.work.results())


def test_windows_leave_as_they_have_had_their_pass_and_the_others_stay_in_order() -> None:
    call = _call(rows=6)
    call.turn, call.fresh, call.window_seconds = 2, 2, 0.5
    assert call.brings.tolist() == [0, 1]
    call.had(np.array([1]))
    assert call.waiting.tolist() == [0, 2, 3, 4, 5]
    assert call.fresh == 1, "its first turn is not over before all of it had its pass"
    assert call.seconds_of_rest == 2.0
    call.had(np.array([0, 2]))
    assert call.waiting.tolist() == [3, 4, 5]
    assert call.fresh == 0
    assert call.seconds_of_rest == 1.5
