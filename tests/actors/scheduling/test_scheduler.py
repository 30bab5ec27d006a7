"""Online requests wait together, share passes, and fail alone."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.arrays import Floats
from actors.backends.base import PassOutput
from actors.batch import Batch
from actors.engine import engine as engine_module
from actors.engine.batcher import WindowQueue
from actors.engine.cost_model import PassShape
from actors.engine.device_lock import DeviceLock
from actors.engine.engine import Engine
from actors.engine.inference_task import InferenceTask, Results, Wanted
from actors.engine.passes import PassInFlight
from actors.errors import DeadlinePassed, ModelError, NoRoom, NotANumber, QueueFull, WindowTooLarge
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters, SharingParameters
from actors.scheduling.request import QueuedRequest
from actors.scheduling.scheduler import OnlineScheduler
from actors.tokenization.preprocess import prepare_texts
from tests.actors.helpers import (
    FIRST_WORD,
    WORDS,
    TableBackend,
    assert_same_results,
    prepare,
    strings,
    word_spec,
    words,
)
from tests.actors.scheduling.deep_backend import DEPTH, DeepBackend
from tests.waiting import until

SPEC = word_spec()
QA = QAParameters(max_seq_len=16, doc_stride=3, max_answer_len=4)
EMBEDDING = EmbeddingParameters(max_seq_len=10, doc_stride=2)
ANSWER, EMBED, STATES = Wanted(qa=QA), Wanted(embedding=EMBEDDING), Wanted(window_states=True)
LAYERS = Wanted(embedding=EMBEDDING, embeddings=False, layer_vectors=True)
KINDS = [ANSWER, Wanted(qa=QAParameters(top_k=4, max_seq_len=12, doc_stride=2)), EMBED, STATES]
TOGETHER = BatchingParameters(fixed_windows=64)
ONE_BY_ONE = BatchingParameters(fixed_windows=1)


class GatedBackend(TableBackend):
    """Says when a pass has begun, and goes on with it when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.may_go_on = threading.Semaphore(0)

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        self.begun.release()
        self.may_go_on.acquire()
        return super().forward(batch, want_spans, pool_weights, want_hidden)


class _GatedAndFailing(GatedBackend):
    """Has one word that no pass survives."""

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        output = super().forward(batch, want_spans, pool_weights, want_hidden)
        if (batch.input_ids == FIRST_WORD + 7).any():
            raise ModelError("no pass with w7")
        return output


def _engine(backend: TableBackend, batching: BatchingParameters = TOGETHER) -> Engine:
    return Engine(backend, SPEC, batching, DeviceLock(SharingParameters()))


def _task(engine: Engine, wanted: Wanted, *texts: str) -> InferenceTask:
    if wanted.qa is not None:
        return engine.begin(prepare(SPEC, wanted.qa, [("w1", text) for text in texts])[0], wanted)
    return engine.begin(prepare_texts(SPEC, EMBEDDING, strings(texts))[0], wanted)


def _alone(wanted: Wanted, *texts: str) -> Results:
    engine = _engine(TableBackend(), ONE_BY_ONE)
    return engine.finish(_task(engine, wanted, *texts))


@contextmanager
def _scheduler(engine: Engine, quantum: float = math.inf, max_requests: int = 64) -> Iterator[OnlineScheduler]:
    """Waits at the end until the scheduler gives the device back, so that no pass is missed by what follows.

    Its clock ticks and hardly moves on: whose turn it is must not hang on how busy the machine is.
    """
    ticks = count()
    yield OnlineScheduler(engine, quantum, max_requests, clock=lambda: 1e-6 * next(ticks))
    with engine.device_lock.online():
        pass


@contextmanager
def _device_taken(engine: Engine) -> Iterator[None]:
    """What is queued meanwhile waits together."""
    with engine.device_lock.offline(0.0) as granted:
        assert granted
        yield


def _past(deadline: float) -> Callable[[], bool]:
    return lambda: time.monotonic() >= deadline


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.lists(
            st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=25).map(words), min_size=1, max_size=3, unique=True
        ),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40)
@given(requests=REQUESTS, fixed=st.none() | st.integers(1, 20), quantum=st.sampled_from([0.0, 1e-3, math.inf]))
def test_company_never_changes_what_a_request_gets(
    requests: list[tuple[Wanted, list[str]]], fixed: int | None, quantum: float
) -> None:
    engine = _engine(TableBackend(), BatchingParameters(fixed_windows=fixed))
    with _scheduler(engine, quantum) as scheduler:
        with _device_taken(engine):
            taken = [scheduler.submit(_task(engine, wanted, *texts)) for wanted, texts in requests]
        for request, (wanted, texts) in zip(taken, requests, strict=True):
            assert_same_results(request.future.result(), _alone(wanted, *texts))
            assert request.arrived <= request.first_pass_began
            assert len(request.pending) == 0
    assert len(scheduler) == 0


def test_requests_that_wait_together_share_a_pass() -> None:
    backend = TableBackend()
    engine = _engine(backend)
    with _scheduler(engine) as scheduler, _device_taken(engine):
        requests = [scheduler.submit(_task(engine, ANSWER, words(range(n)))) for n in (2, 9, 5)]
        requests.append(scheduler.submit(_task(engine, EMBED, "w1")))
    for request in requests:
        request.future.result()
    assert backend.shapes == [(3, 13), (1, 3)], "one pass for answers, one for vectors"


def test_others_are_answered_while_one_waits_for_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_PAUSES", (1e-3, 1e-3, 3600.0))
    backend = TableBackend(room=13)
    engine = _engine(backend, ONE_BY_ONE)
    with _scheduler(engine) as scheduler:
        long = words(range(9))
        scheduler.submit(_task(engine, ANSWER, long)).future.result()
        backend.room = 12
        waits = scheduler.submit(_task(engine, ANSWER, long))
        until(lambda: waits.task.tries_without_room == 3)
        for _ in range(3):
            scheduler.submit(_task(engine, ANSWER, "w2")).future.result()
        with _device_taken(engine):
            assert not waits.future.done()
        # As if the hour were over; the next request has the queue looked at.
        waits.not_before = 0.0
        scheduler.submit(_task(engine, ANSWER, "w2")).future.result()
        with pytest.raises(NoRoom, match="a window of 13 tokens has no room"):
            waits.future.result()
        backend.room = 13
        assert_same_results(scheduler.submit(_task(engine, ANSWER, long)).future.result(), _alone(ANSWER, long))


def test_whoever_comes_while_the_device_is_taken_is_in_the_next_pass() -> None:
    backend = GatedBackend()
    with _scheduler(_engine(backend)) as scheduler:
        first = scheduler.submit(_task(_engine(backend), EMBED, "w1"))
        backend.begun.acquire()
        others = [scheduler.submit(_task(_engine(backend), EMBED, text)) for text in ("w2", "w3")]
        backend.may_go_on.release(2)
        for request in (first, *others):
            request.future.result()
    assert [n for n, _ in backend.shapes] == [1, 2]


def test_a_cancelled_request_leaves_the_queue_and_makes_room() -> None:
    backend = TableBackend()
    engine = _engine(backend)
    with _scheduler(engine, max_requests=2) as scheduler:
        with _device_taken(engine):
            stays, goes = (scheduler.submit(_task(engine, EMBED, text)) for text in ("w1", "w2 w3 w4"))
            with pytest.raises(QueueFull, match="2 requests wait already"):
                scheduler.submit(_task(engine, EMBED, "w5"))
            assert goes.future.cancel()
            assert len(scheduler) == 1
            late = scheduler.submit(_task(engine, EMBED, "w5"))
        assert_same_results(stays.future.result(), _alone(EMBED, "w1"))
        assert_same_results(late.future.result(), _alone(EMBED, "w5"))
    assert backend.shapes == [(2, 3)], "nothing was computed for the one that left"


def test_a_request_that_is_cancelled_between_its_passes_has_no_more_of_them() -> None:
    backend = GatedBackend()
    engine = _engine(backend, ONE_BY_ONE)
    with _scheduler(engine) as scheduler:
        request = scheduler.submit(_task(engine, EMBED, "w1", "w2", "w3"))
        backend.begun.acquire()
        assert request.future.cancel()
        backend.may_go_on.release(9)
        after = scheduler.submit(_task(engine, EMBED, "w4 w5"))
        assert_same_results(after.future.result(), _alone(EMBED, "w4 w5"))
        with pytest.raises(CancelledError):
            request.future.result()
    assert backend.shapes == [(1, 3), (1, 4)]


def test_a_deadline_that_passed_in_the_queue_costs_no_pass() -> None:
    backend = TableBackend()
    engine = _engine(backend)
    with _scheduler(engine) as scheduler:
        with _device_taken(engine):
            deadline = time.monotonic() + 0.01
            late = scheduler.submit(_task(engine, EMBED, "w1 w2"), deadline)
            patient = scheduler.submit(_task(engine, EMBED, "w3"))
            until(_past(deadline))
        with pytest.raises(DeadlinePassed):
            late.future.result()
        assert math.isnan(late.first_pass_began)
        assert_same_results(patient.future.result(), _alone(EMBED, "w3"))
    assert backend.shapes == [(1, 3)]


@pytest.mark.parametrize("wanted", [EMBED, STATES], ids=["same kind", "other kind"])
def test_a_deadline_that_passes_during_the_pass_of_another_costs_no_pass_either(wanted: Wanted) -> None:
    backend = GatedBackend()
    engine = _engine(backend, ONE_BY_ONE)
    with _scheduler(engine) as scheduler:
        with _device_taken(engine):
            first = scheduler.submit(_task(engine, EMBED, "w1 w2"))
            deadline = time.monotonic() + 0.2
            late = scheduler.submit(_task(engine, wanted, "w3"), deadline)
        backend.begun.acquire()
        until(_past(deadline))
        backend.may_go_on.release(2)
        with pytest.raises(DeadlinePassed):
            late.future.result()
        first.future.result()
    assert backend.shapes == [(1, 4)]


@pytest.mark.parametrize("wanted", [ANSWER, EMBED, STATES], ids=["answers", "vectors", "states"])
@pytest.mark.parametrize("quantum", [0.0, math.inf])
def test_a_request_that_the_model_computes_nan_for_fails_alone(wanted: Wanted, quantum: float) -> None:
    backend = TableBackend()
    for table in (backend.start_table, backend.hidden_table):
        table[FIRST_WORD + 7] = np.nan
    engine = _engine(backend)
    texts = [("w2", "w3 w4"), ("w5 w6", "w7 w8"), ("w9",)]
    with _scheduler(engine, quantum) as scheduler:
        with _device_taken(engine):
            requests = [scheduler.submit(_task(engine, wanted, *some)) for some in texts]
        with pytest.raises(ModelError, match="NaN"):
            requests[1].future.result()
        for i in (0, 2):
            assert_same_results(requests[i].future.result(), _alone(wanted, *texts[i]))


def test_a_request_whose_results_cannot_be_read_fails_alone() -> None:
    """Answers of a shard that was prepared without its texts: the windows are there, the words are not."""
    engine = _engine(TableBackend())
    without, _ = prepare_texts(SPEC, EMBEDDING, strings(["w3 w4"]))
    with _scheduler(engine) as scheduler:
        with _device_taken(engine):
            first = scheduler.submit(_task(engine, ANSWER, "w3 w4"))
            bad = scheduler.submit(engine.begin(without, ANSWER))
            last = scheduler.submit(_task(engine, ANSWER, "w5"))
        assert bad.future.exception() is not None
        assert_same_results(first.future.result(), _alone(ANSWER, "w3 w4"))
        assert_same_results(last.future.result(), _alone(ANSWER, "w5"))
        assert scheduler.alive


def test_the_next_pass_does_not_wait_until_the_results_of_the_last_one_are_merged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = TableBackend()
    engine = _engine(backend)
    slow, merging, may_merge = _task(engine, ANSWER, "w1"), threading.Event(), threading.Event()
    results = slow.results

    def merged() -> Results:
        merging.set()
        may_merge.wait(60)
        return results()

    monkeypatch.setattr(slow, "results", merged)
    with _scheduler(engine, max_requests=2) as scheduler:
        first = scheduler.submit(slow)
        assert merging.wait(60)
        second = scheduler.submit(_task(engine, ANSWER, "w2"))
        until(lambda: len(backend.shapes) == 2)
        # Whoever has no results yet counts as waiting, and nobody looks at its deadline any more.
        assert len(scheduler) == 2
        with pytest.raises(QueueFull):
            scheduler.submit(_task(engine, ANSWER, "w3"))
        assert not first.is_wanted()
        may_merge.set()
        assert_same_results(first.future.result(), _alone(ANSWER, "w1"))
        assert_same_results(second.future.result(), _alone(ANSWER, "w2"))
        until(lambda: not scheduler._requests)


def test_results_that_cannot_be_handed_out_cost_their_requests_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = _engine(TableBackend())
    keep = engine.keep

    def fails_once(flight: PassInFlight, output: PassOutput) -> list[Exception | None]:
        monkeypatch.setattr(engine, "keep", keep)
        raise MemoryError("no room for the logits")

    monkeypatch.setattr(engine, "keep", fails_once)
    with _scheduler(engine) as scheduler:
        with pytest.raises(MemoryError):
            scheduler.submit(_task(engine, EMBED, "w1")).future.result()
        assert_same_results(scheduler.submit(_task(engine, EMBED, "w2")).future.result(), _alone(EMBED, "w2"))


def test_a_large_request_does_not_hold_small_ones_up() -> None:
    backend = GatedBackend()
    engine = _engine(backend)
    texts = [words([n]) for n in range(20)]
    with _scheduler(engine, quantum=0.0) as scheduler:
        large = scheduler.submit(_task(engine, EMBED, *texts))
        backend.begun.acquire()
        small = scheduler.submit(_task(engine, EMBED, "w30 w31"))
        backend.may_go_on.release(2)
        assert_same_results(small.future.result(), _alone(EMBED, "w30 w31"))
        assert len(large.pending) >= 18
        backend.may_go_on.release(19)
        assert_same_results(large.future.result(), _alone(EMBED, *texts))
    assert backend.shapes == [(1, 3), (1, 4), *[(1, 3)] * 19]


def test_a_large_request_that_looks_inside_the_model_costs_others_a_pass_of_one_window() -> None:
    backend = DeepBackend()
    begun, may_go_on = threading.Semaphore(0), threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        may_go_on.acquire()

    backend.before = wait
    engine = _engine(backend)
    texts = [words([n]) for n in range(6)]
    with _scheduler(engine, quantum=0.0) as scheduler:
        large = scheduler.submit(_task(engine, LAYERS, *texts))
        begun.acquire()
        small = scheduler.submit(_task(engine, EMBED, "w30 w31"))
        may_go_on.release(9)
        assert_same_results(small.future.result(), _alone(EMBED, "w30 w31"))
        found = large.future.result().layer_vectors
    expected = _alone(Wanted(embedding=EmbeddingParameters(normalize=False)), *texts).embeddings
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found.to_pylist(), np.repeat(expected[:, None], DEPTH.layers + 1, axis=1), atol=1e-5)
    assert backend.passes == [(True, (1, 3)), (False, (1, 4)), *[(True, (1, 3))] * 5]


def test_what_the_tokenizer_knows_alone_takes_no_pass() -> None:
    backend = TableBackend()
    engine = _engine(backend)
    prepared, _ = prepare_texts(SPEC, EMBEDDING, strings(["w1 w2", "w3"]), keep_texts=True)
    with _scheduler(engine) as scheduler:
        found = scheduler.submit(engine.begin(prepared, Wanted(token_texts=True))).future.result().token_texts
    assert found is not None
    assert [[token["text"] for token in row] for row in found.to_pylist()] == [["w1", "w2"], ["w3"]]
    assert backend.shapes == []


def test_whoever_comes_during_a_pass_goes_before_the_remainders_of_earlier_ones() -> None:
    backend = GatedBackend()
    engine = _engine(backend, ONE_BY_ONE)
    with _scheduler(engine, quantum=0.0) as scheduler:
        with _device_taken(engine):
            older, old = (scheduler.submit(_task(engine, EMBED, text, "w9")) for text in ("w1 w2", "w1 w2 w3"))
        for text in ("w1 w2 w3 w4", "w1 w2 w3 w4 w5"):
            backend.begun.acquire()
            scheduler.submit(_task(engine, EMBED, text))
            backend.may_go_on.release()
        backend.may_go_on.release(9)
        for request in (older, old):
            request.future.result()
    assert [width for _, width in backend.shapes] == [4, 5, 6, 7, 3, 3]


def test_an_online_request_waits_for_one_offline_pass_and_has_the_device_until_it_is_done() -> None:
    backend = GatedBackend()
    engine = _engine(backend, ONE_BY_ONE)
    shard = engine.begin(prepare_texts(SPEC, EMBEDDING, strings([words(range(6))] * 3 + ["w1 w2 w3"]))[0], EMBED)
    offline = threading.Thread(target=lambda: engine.finish(shard))
    with _scheduler(engine) as scheduler:
        offline.start()
        backend.begun.acquire()
        request = scheduler.submit(_task(engine, EMBED, "w4", "w5"))
        until(lambda: engine.device_lock._online_waiting == 1)
        backend.may_go_on.release(3)
        assert_same_results(request.future.result(), _alone(EMBED, "w4", "w5"))
        backend.may_go_on.release(9)
        offline.join()
    assert backend.shapes == [(1, 8), (1, 3), (1, 3), (1, 5)]
    assert_same_results(shard.results(), _alone(EMBED, *[words(range(6))] * 3, "w1 w2 w3"))


def test_a_pass_that_does_not_fit_is_taken_in_halves() -> None:
    backend = TableBackend(room=30)
    engine = _engine(backend)
    texts = ("w1 w2 w3", "w4", "w5 w6", "w7", "w8", "w9")
    long, _ = prepare(SPEC, QAParameters(), [("w1", words(range(40)))])
    with _scheduler(engine) as scheduler:
        with _device_taken(engine):
            requests = [scheduler.submit(_task(engine, EMBED, text)) for text in texts]
            too_large = scheduler.submit(engine.begin(long, ANSWER))
        for request, text in zip(requests, texts, strict=True):
            assert_same_results(request.future.result(), _alone(EMBED, text))
        with pytest.raises(WindowTooLarge):
            too_large.future.result()


def test_a_request_without_windows_gets_its_empty_results() -> None:
    engine = _engine(TableBackend())
    with _scheduler(engine) as scheduler:
        assert_same_results(scheduler.submit(_task(engine, EMBED)).future.result(), _alone(EMBED))


def _slow_engine() -> Engine:
    """One that has learnt that a pass over a window of four tokens takes 20 ms."""
    engine = _engine(TableBackend(), ONE_BY_ONE)
    for size in [PassShape.padded(n, width) for n in (1, 2, 4, 8) for width in (4, 8)] * 3:
        engine.batcher.costs.observe(size, 0.005 * size.tokens)
    return engine


def test_those_who_wait_may_take_so_long_and_no_longer() -> None:
    engine = _slow_engine()
    scheduler = OnlineScheduler(engine, math.inf, max_requests=64, max_wait=0.03)
    with _device_taken(engine):
        # One is taken whatever it takes, and another behind it.
        large = scheduler.submit(_task(engine, EMBED, *(f"w{n} w1" for n in range(9))))
        small = scheduler.submit(_task(engine, EMBED, "w1 w3"))
        assert large.slice_seconds > 0.03
        with pytest.raises(QueueFull, match=r"2 requests wait already, and \d\.\d s of them go first"):
            scheduler.submit(_task(engine, EMBED, "w1 w4"))
        assert large.future.cancel()
        scheduler.submit(_task(engine, EMBED, "w1 w4"))
    assert_same_results(small.future.result(), _alone(EMBED, "w1 w3"))


def test_the_slice_of_a_large_request_is_a_quantum() -> None:
    engine = _slow_engine()
    with _scheduler(engine, quantum=0.001) as scheduler, _device_taken(engine):
        one, many = (scheduler.submit(_task(engine, EMBED, *(f"w{n} w1" for n in range(count)))) for count in (1, 20))
        assert 0.01 < many.slice_seconds == one.slice_seconds


def test_huge_requests_leave_room_for_small_ones_and_for_large_ones_but_not_for_more_of_their_size() -> None:
    engine = _slow_engine()
    scheduler = OnlineScheduler(engine, 0.001, max_requests=64, max_wait=1.0)

    def take(count: int) -> QueuedRequest:
        return scheduler.submit(_task(engine, EMBED, *(f"w{n} w1" for n in range(count))))

    with _device_taken(engine):
        requests = [take(30), take(30)]
        assert requests[0].remainder_seconds > 0.5
        with pytest.raises(QueueFull, match="large ones among them would be late"):
            requests += [take(30) for _ in range(4)]
        requests += [take(1), take(5)]
        for request in requests:
            assert request.future.cancel()


def test_whatever_goes_wrong_with_a_request_the_next_one_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _engine(TableBackend())
    choose = engine.choose

    def out_of_luck(schedule: WindowQueue, quantum: float, task: InferenceTask | None = None) -> int:
        monkeypatch.setattr(engine, "choose", choose)
        raise MemoryError("no room for the order")

    with _scheduler(engine) as scheduler:
        monkeypatch.setattr(engine, "choose", out_of_luck)
        with pytest.raises(MemoryError):
            scheduler.submit(_task(engine, EMBED, "w1")).future.result()
        assert_same_results(scheduler.submit(_task(engine, EMBED, "w2")).future.result(), _alone(EMBED, "w2"))


def test_what_goes_wrong_after_a_request_has_its_results_costs_no_other_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = _engine(TableBackend())
    faults: Iterator[int | MemoryError] = iter([1, 1, MemoryError("no room")])

    def one_window(seconds: float, width: int, most: int, task: InferenceTask) -> int:
        fault = next(faults, 1)
        if isinstance(fault, MemoryError):
            raise fault
        return fault

    monkeypatch.setattr(engine, "windows_within", one_window)
    with _scheduler(engine) as scheduler:
        with _device_taken(engine):
            done = scheduler.submit(_task(engine, EMBED, "w1"))
            goes_on = scheduler.submit(_task(engine, EMBED, "w2", "w3"))
        assert_same_results(done.future.result(), _alone(EMBED, "w1"))
        assert_same_results(goes_on.future.result(), _alone(EMBED, "w2", "w3"))
        assert scheduler.alive


def test_those_who_left_meanwhile_have_no_pass_of_their_own_when_a_shared_one_fails() -> None:
    backend = _GatedAndFailing()
    engine = _engine(backend)
    with _scheduler(engine) as scheduler:
        with _device_taken(engine):
            bad, stays, goes = (scheduler.submit(_task(engine, EMBED, text)) for text in ("w7", "w2 w3", "w4 w5 w6"))
        backend.begun.acquire()
        assert goes.future.cancel()
        backend.may_go_on.release(9)
        assert_same_results(stays.future.result(), _alone(EMBED, "w2 w3"))
        assert isinstance(bad.future.exception(), ModelError)
    # Passes of one pad token and a word look whether the device is lost.
    assert [shape for shape in backend.shapes if shape != (1, 2)] == [(3, 5), (1, 3), (1, 4)]


def test_a_window_that_the_model_computes_nan_for_costs_the_others_of_its_pass_no_second_one() -> None:
    backend = TableBackend()
    backend.hidden_table[FIRST_WORD + 7] = np.nan
    engine = _engine(backend)
    with _scheduler(engine) as scheduler:
        with _device_taken(engine):
            bad, good = (scheduler.submit(_task(engine, EMBED, text)) for text in ("w7", "w2 w3"))
        assert_same_results(good.future.result(), _alone(EMBED, "w2 w3"))
        assert isinstance(bad.future.exception(), NotANumber)
    assert backend.shapes == [(2, 4)]


def test_before_the_first_pass_nobody_is_refused_for_time() -> None:
    engine = _engine(TableBackend())
    scheduler = OnlineScheduler(engine, math.inf, max_requests=9, max_wait=1e-9)
    with _device_taken(engine):
        requests = [scheduler.submit(_task(engine, EMBED, text)) for text in ("w1", "w2", "w3")]
    for request, text in zip(requests, ("w1", "w2", "w3"), strict=True):
        assert_same_results(request.future.result(), _alone(EMBED, text))


def test_a_request_closes_the_quantum_when_it_comes() -> None:
    engine = _engine(TableBackend())
    with _scheduler(engine) as scheduler, _device_taken(engine):
        assert engine.device_lock.quantum() == math.inf
        scheduler.submit(_task(engine, EMBED, "w1"))
        assert engine.device_lock.quantum() == SharingParameters().quantum_ms / 1000


def test_a_probe_leaves_the_quantum_open() -> None:
    engine = _engine(TableBackend())
    with _scheduler(engine) as scheduler:
        scheduler.submit(_task(engine, EMBED, "w1"), is_probe=True).future.result()
        until(lambda: not scheduler._requests)
        assert engine.device_lock.quantum() == math.inf
        scheduler.submit(_task(engine, EMBED, "w1")).future.result()
        assert engine.device_lock.quantum() == SharingParameters().quantum_ms / 1000


def test_a_probe_is_taken_where_the_queue_is_full_and_does_not_fill_it() -> None:
    engine = _engine(TableBackend())
    with _scheduler(engine, max_requests=1) as scheduler:
        with _device_taken(engine):
            requests = [
                scheduler.submit(_task(engine, EMBED, "w1"), is_probe=is_probe) for is_probe in (True, False, True)
            ]
            with pytest.raises(QueueFull):
                scheduler.submit(_task(engine, EMBED, "w1"))
        for request in requests:
            request.future.result()
