"""When an online call should have its passes, and how it ends; the queue's part is test_desk's."""

import math
import time

import numpy as np
import pytest

from actors.calls import Call
from actors.engine import Engine
from actors.errors import DeadlinePassed, ModelError
from actors.parameters import BatchingParameters, QAParameters
from actors.work import Wanted
from tests.actors.helpers import TableBackend, prepare, word_spec


def _call(deadline: float = math.inf, rows: int = 1, arrived: float | None = None) -> Call:
    engine = Engine(TableBackend(), word_spec(), BatchingParameters())
    pairs = [("w1", f"w2 w{n}") for n in range(rows)]
    work = engine.begin(prepare(engine.spec, QAParameters(), pairs)[0], Wanted(qa=QAParameters()))
    engine.finish(work)
    return Call(work, deadline, arrived=time.monotonic() if arrived is None else arrived)


def _large(arrived: float, rows: int) -> Call:
    call = _call(rows=rows, arrived=arrived)
    call.turn, call.turn_seconds, call.window_seconds = 2, 0.04, 0.02
    return call


def _serve(call: Call, times: int) -> None:
    for _ in range(times):
        call.had(call.brings, math.inf)


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
    call = _large(arrived=0.0, rows=6)
    assert call.brings.tolist() == [0, 1]
    call.had(np.array([1]), math.inf)
    assert call.waiting.tolist() == [0, 2, 3, 4, 5]
    call.had(np.array([0, 2]), math.inf)
    assert call.waiting.tolist() == [3, 4, 5]


def test_what_comes_is_due_before_what_is_left_of_those_who_had_something() -> None:
    old, new = _large(arrived=0.0, rows=9), _large(arrived=0.5, rows=9)
    assert old.due < new.due
    _serve(old, 1)
    assert new.due < old.due
    _serve(new, 1)
    assert old.due < new.due, "first come, first served, among those who had as much"


def test_the_more_a_call_has_had_the_later_is_its_rest_but_never_later_than_it_may_be() -> None:
    huge, large = _large(arrived=0.0, rows=400), _large(arrived=0.0, rows=20)
    _serve(huge, 100)
    _serve(large, 5)
    assert large.due < huge.due
    huge.had(huge.brings, 3.0)
    assert huge.due == 3.0


def test_of_a_huge_call_a_part_is_due_soon_and_of_a_small_one_all() -> None:
    huge, small = _large(arrived=0.0, rows=400), _large(arrived=0.0, rows=2)
    assert small.seconds_due(1.0) == 2 * 0.02
    assert 0.04 < huge.seconds_due(1.0) < huge.seconds_due(2.0) < 1.0
    assert huge.seconds_due(math.inf) == 400 * 0.02
