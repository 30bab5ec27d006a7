"""How an online call ends; the queue's part is test_desk's."""

import math
import time

import pytest

from actors.calls import Call
from actors.engine import Engine
from actors.errors import DeadlinePassed, ModelError
from actors.parameters import BatchingParameters, QAParameters
from actors.work import Wanted
from tests.actors.helpers import TableBackend, prepare, word_spec


def _call(deadline: float = math.inf) -> Call:
    engine = Engine(TableBackend(), word_spec(), BatchingParameters())
    work = engine.begin(prepare(engine.spec, QAParameters(), [("w1", "w2 w3")])[0], Wanted(qa=QAParameters()))
    engine.finish(work)
    return Call(work, deadline, arrived=time.monotonic())


def test_a_call_is_wanted_until_it_has_results_or_an_error() -> None:
    good, bad = _call(), _call()
    assert good.is_wanted()
    assert good.windows == 1
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
