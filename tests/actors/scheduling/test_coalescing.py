"""Who has part in the next pass."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.batcher import Batcher
from actors.engine.cost_model import PassShape
from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.parameters import BatchingParameters, EmbeddingParameters
from actors.scheduling.coalescing import Part, next_pass
from actors.scheduling.request import QueuedRequest
from actors.tokenization.preprocess import prepare_texts
from tests.actors.helpers import TableBackend, strings, word_spec, words

SPEC = word_spec()
EMBED, STATES = Wanted(embedding=EmbeddingParameters()), Wanted(tokens=True)
TOKEN, PASS = 0.001, 0.02
QUANTUM = 0.05


def _engine(per_token: float = TOKEN, per_pass: float = 0.0) -> Engine:
    """One that has learnt what a pass takes."""
    engine = Engine(TableBackend(), SPEC, BatchingParameters())
    for _ in range(3):
        for size in (PassShape(n, width) for n in (1, 2, 4, 8, 16) for width in (8, 32)):
            engine.batcher.costs.observe(size, per_pass + size.tokens * per_token)
    return engine


def _call(engine: Engine, arrived: float, *lengths: int, wanted: Wanted = EMBED) -> QueuedRequest:
    """With windows of so many tokens; 2 of each are special."""
    texts = strings([words([n % 40] * (length - 2)) for n, length in enumerate(lengths)])
    prepared, _ = prepare_texts(SPEC, EmbeddingParameters(), texts)
    call = QueuedRequest(engine.begin(prepared, wanted), math.inf, arrived=arrived)
    assert call.lengths.tolist() == list(lengths)
    call.turn = len(call.waiting)
    call.turn_seconds = engine.predicted(call.lengths)
    return call


def _next_pass(engine: Engine, calls: list[QueuedRequest], quantum: float) -> list[Part]:
    """For the call that came first."""
    return next_pass(engine, min(calls, key=lambda call: call.arrived), calls, quantum)


def _sizes(parts: list[Part]) -> list[list[int]]:
    return [sorted(part.call.lengths[part.windows].tolist()) for part in parts]


def test_where_a_pass_costs_what_its_tokens_cost_nobody_waits_for_the_windows_of_another() -> None:
    engine = _engine()
    calls = [_call(engine, 3.0, 40), _call(engine, 1.0, 30), _call(engine, 2.0, 10)]
    parts = _next_pass(engine, calls, QUANTUM)
    assert parts[0].call is calls[1]
    assert _sizes(parts)[0] == [30]
    assert all(length <= 30 for sizes in _sizes(parts) for length in sizes)


def test_where_a_pass_costs_the_same_for_one_and_for_many_all_go_together() -> None:
    engine = _engine(per_token=1e-6, per_pass=PASS)
    calls = [_call(engine, float(n), 20 - n, 21 - n) for n in range(5)]
    parts = _next_pass(engine, calls, QUANTUM)
    assert [part.call for part in parts] == calls
    assert sum(map(len, _sizes(parts))) == 10


def test_calls_of_another_kind_wait_for_their_own_pass() -> None:
    engine = _engine(per_token=1e-6, per_pass=PASS)
    calls = [_call(engine, 1.0, 9), _call(engine, 0.0, 9, wanted=STATES), _call(engine, 2.0, 9, wanted=STATES)]
    assert [part.call for part in _next_pass(engine, calls, QUANTUM)] == calls[1:]


def test_where_much_waits_passes_grow() -> None:
    engine = _engine(per_token=TOKEN / 100, per_pass=PASS)
    few, many = ([_call(engine, float(n), 20) for n in range(count)] for count in (2, 400))
    assert len(_next_pass(engine, few, 0.0)) == 1
    assert len(_next_pass(engine, many, 0.0)) > 4


@settings(max_examples=60)
@given(
    waiting=st.lists(
        st.tuples(
            st.floats(0, 9), st.lists(st.integers(3, 40), min_size=1, max_size=4), st.sampled_from([EMBED, STATES])
        ),
        min_size=1,
        max_size=8,
    ),
    per_token=st.sampled_from([0.0, 1e-5, 1e-3]),
    per_pass=st.sampled_from([1e-6, PASS]),
    quantum=st.sampled_from([0.0, QUANTUM, math.inf]),
)
def test_the_call_that_it_is_for_always_has_part(
    waiting: list[tuple[float, list[int], Wanted]], per_token: float, per_pass: float, quantum: float
) -> None:
    engine = _engine(per_token, per_pass)
    calls = [_call(engine, arrived, *lengths, wanted=wanted) for arrived, lengths, wanted in waiting]
    parts = _next_pass(engine, calls, quantum)
    assert any(part.call.arrived == min(call.arrived for call in calls) for part in parts)
    assert len({part.call.work.kind for part in parts}) == 1
    for call, windows in parts:
        assert len(windows) > 0
        assert set(windows.tolist()) <= set(call.brings.tolist())


def test_what_a_call_may_not_bring_yet_stays() -> None:
    engine = _engine(per_token=1e-6, per_pass=PASS)
    call = _call(engine, 0.0, 9, 9, 9, 9)
    call.turn = 2
    assert [part.windows.tolist() for part in _next_pass(engine, [call], math.inf)] == [[0, 1]]


@pytest.mark.parametrize("fixed", [1, 3])
def test_a_fixed_number_of_windows_is_taken_from_those_like_its_own(fixed: int) -> None:
    engine = _engine(per_token=1e-6, per_pass=PASS)
    engine.batcher = Batcher(BatchingParameters(fixed_windows=fixed))
    calls = [_call(engine, float(n), 9 + n) for n in range(5)]
    assert [part.call for part in _next_pass(engine, calls, math.inf)] == calls[:fixed]
