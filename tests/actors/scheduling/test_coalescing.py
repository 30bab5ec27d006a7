"""Which windows of which requests share the next pass."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.arrays import Longs
from actors.engine.cost_model import PassShape
from actors.engine.engine import Engine
from actors.engine.inference_task import Wanted
from actors.parameters import BatchingParameters, EmbeddingParameters
from actors.scheduling.coalescing import next_pass
from actors.scheduling.request import QueuedRequest, WindowSizes
from actors.tokenization.preprocess import prepare_texts
from tests.actors.helpers import TableBackend, strings, word_spec, words
from tests.actors.scheduling.deep_backend import DeepBackend

SPEC = word_spec()
EMBED, STATES = Wanted(embedding=EmbeddingParameters()), Wanted(window_states=True)
TOKEN, PASS = 0.001, 0.02
QUANTUM = 0.05


def _engine(per_token: float = TOKEN, per_pass: float = 0.0, fixed: int | None = None) -> Engine:
    """One that has learnt what a pass takes."""
    engine = Engine(TableBackend(), SPEC, BatchingParameters(fixed_windows=fixed))
    for _ in range(3):
        for size in (PassShape.padded(n, width) for n in (1, 2, 4, 8, 16) for width in (8, 32)):
            engine.batcher.costs.observe(size, per_pass + size.tokens * per_token)
    return engine


def _request(engine: Engine, arrived: float, *lengths: int, wanted: Wanted = EMBED) -> QueuedRequest:
    """With windows of so many tokens; 2 of each are special."""
    texts = strings([words([n % 40] * (length - 2)) for n, length in enumerate(lengths)])
    prepared, _ = prepare_texts(SPEC, EmbeddingParameters(), texts)
    request = QueuedRequest(engine.begin(prepared, wanted), math.inf, arrived=arrived)
    assert request.lengths.tolist() == list(lengths)
    request.slice_windows = request.first_slice_pending = len(request.pending)
    request.slice_size = WindowSizes.of(request.lengths)
    request.slice_seconds = engine.predicted(request.lengths)
    return request


def _next_pass(engine: Engine, requests: list[QueuedRequest], quantum: float) -> dict[QueuedRequest, Longs]:
    """For the request that came first."""
    return next_pass(engine, min(requests, key=lambda request: request.arrived), requests, quantum)


def _sizes(parts: dict[QueuedRequest, Longs]) -> list[list[int]]:
    return [sorted(request.lengths[windows].tolist()) for request, windows in parts.items()]


def test_where_a_pass_costs_what_its_tokens_cost_nobody_waits_for_the_windows_of_another() -> None:
    engine = _engine()
    requests = [_request(engine, 3.0, 40), _request(engine, 1.0, 30), _request(engine, 2.0, 10)]
    parts = _next_pass(engine, requests, QUANTUM)
    assert next(iter(parts)) is requests[1]
    assert _sizes(parts)[0] == [30]
    assert all(length <= 30 for sizes in _sizes(parts) for length in sizes)


def test_where_a_pass_costs_the_same_for_one_and_for_many_all_go_together() -> None:
    engine = _engine(per_token=1e-6, per_pass=PASS)
    requests = [_request(engine, float(n), 20 - n, 21 - n) for n in range(5)]
    parts = _next_pass(engine, requests, QUANTUM)
    assert list(parts) == requests
    assert sum(map(len, _sizes(parts))) == 10


def test_requests_of_another_kind_wait_for_their_own_pass() -> None:
    engine = _engine(per_token=1e-6, per_pass=PASS)
    requests = [
        _request(engine, 1.0, 9),
        _request(engine, 0.0, 9, wanted=STATES),
        _request(engine, 2.0, 9, wanted=STATES),
    ]
    assert list(_next_pass(engine, requests, QUANTUM)) == requests[1:]


def test_where_much_waits_passes_grow() -> None:
    engine = _engine(per_token=TOKEN / 100, per_pass=PASS)
    few, many = ([_request(engine, float(n), 20) for n in range(count)] for count in (2, 400))
    assert len(_next_pass(engine, few, 0.0)) == 1
    assert len(_next_pass(engine, many, 0.0)) > 4


def test_passes_that_look_inside_the_model_stay_within_the_quantum_however_many_wait() -> None:
    wanted = Wanted(embedding=EmbeddingParameters(), embeddings=False, layer_vectors=True)
    engine = Engine(DeepBackend(lambda tokens: tokens * TOKEN), SPEC, BatchingParameters(max_windows=8))
    texts = strings([words([n % 40] * 18) for n in range(64)])
    engine.finish(engine.begin(prepare_texts(SPEC, EmbeddingParameters(), texts)[0], wanted))
    requests = [_request(engine, float(n), 20, wanted=wanted) for n in range(400)]
    for request in requests:
        request.slice_seconds = engine.predicted(request.lengths, request.task)
    usual = _request(engine, 0.5, 20)
    chosen = _next_pass(engine, [*requests, usual], QUANTUM)
    assert usual not in chosen
    # A window of 20 tokens takes 20 ms.
    assert sum(map(len, chosen.values())) <= 2


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
def test_the_request_that_it_is_for_always_has_part(
    waiting: list[tuple[float, list[int], Wanted]], per_token: float, per_pass: float, quantum: float
) -> None:
    engine = _engine(per_token, per_pass)
    requests = [_request(engine, arrived, *lengths, wanted=wanted) for arrived, lengths, wanted in waiting]
    parts = _next_pass(engine, requests, quantum)
    assert any(request.arrived == min(other.arrived for other in requests) for request in parts)
    assert len({request.task.kind for request in parts}) == 1
    for request, windows in parts.items():
        assert len(windows) > 0
        assert set(windows.tolist()) <= set(request.next_slice.tolist())


def test_what_a_request_may_not_bring_yet_stays() -> None:
    engine = _engine(per_token=1e-6, per_pass=PASS)
    request = _request(engine, 0.0, 9, 9, 9, 9)
    request.slice_windows = 2
    assert [windows.tolist() for windows in _next_pass(engine, [request], math.inf).values()] == [[0, 1]]


@pytest.mark.parametrize("fixed", [1, 3])
def test_a_fixed_number_of_windows_is_taken_from_those_like_its_own(fixed: int) -> None:
    engine = _engine(per_token=1e-6, per_pass=PASS, fixed=fixed)
    requests = [_request(engine, float(n), 9 + n) for n in range(5)]
    assert list(_next_pass(engine, requests, math.inf)) == requests[:fixed]
