"""Passes on their way: the device computes one while the results of another are read, and changes no answer by it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch

from actors.arrays import Longs
from actors.backends.base import Backend, PassOutput, PassRequest, SubmittedPass
from actors.backends.pytorch.span_search import SpanFinder, read_candidates
from actors.backends.pytorch.transfer import Transfer
from actors.batch import Batch
from actors.engine.batcher import WindowQueue
from actors.engine.cost_model import PassShape
from actors.engine.decoding.answers import Answers
from actors.engine.device_lock import DeviceLock
from actors.engine.engine import Engine
from actors.engine.inference_task import InferenceTask, Results, Wanted
from actors.engine.pass_stats import PassStats
from actors.engine.passes import Share
from actors.errors import NotANumber
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters, SharingParameters
from benchmarks.thread_device import ThreadDevice
from tests.actors.helpers import (
    FIRST_WORD,
    WORDS,
    TableBackend,
    answers_of,
    assert_same_results,
    prepare,
    run_pass,
    word_spec,
    words,
)
from tests.waiting import until

CPU = torch.device("cpu")
SPEC = word_spec()
QA = QAParameters(max_seq_len=24, doc_stride=4, max_answer_len=6)
EMBEDDING = EmbeddingParameters(max_seq_len=16, doc_stride=3)


def _engine(backend: Backend, fixed: int | None = None) -> Engine:
    return Engine(backend, SPEC, BatchingParameters(fixed_windows=fixed))


def _found(results: Results) -> Answers:
    assert results.answers is not None
    return results.answers


def _same(mine: Results, theirs: Results) -> None:
    """Whatever passes they had."""
    assert_same_results(replace(mine, stats=PassStats()), replace(theirs, stats=PassStats()))


def _events(device: ThreadDevice) -> list[tuple[str, int]]:
    return [(event.what, event.number) for event in device.events]


def _has_happened(device: ThreadDevice, event: tuple[str, int]) -> bool:
    return event in _events(device)


def test_the_next_pass_is_submitted_before_the_last_is_collected() -> None:
    """And no more than one: a request that comes waits for what the device has."""
    gate = threading.Semaphore(0)
    device = ThreadDevice(TableBackend(), gate.acquire)
    engine = _engine(device, 10)
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 60)
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(engine.answer, prepared, QA)
        for number in range(6):
            until(partial(_has_happened, device, ("submitted", min(number + 1, 5))))
            assert ("collected", number) not in _events(device)
            gate.release()
    assert len(answers_of(_found(answers.result()))) == 60
    order = _events(device)
    for number in range(4):
        assert order.index(("submitted", number + 1)) < order.index(("computed", number))
        assert order.index(("collected", number)) < order.index(("submitted", number + 2))


def test_a_thread_as_device_changes_no_answer() -> None:
    prepared, _ = prepare(SPEC, QA, [("w1", words([n % WORDS, (n + 7) % WORDS])) for n in range(90)])
    mine = _engine(ThreadDevice(TableBackend())).answer(prepared, QA, EMBEDDING)
    assert_same_results(mine, _engine(TableBackend()).answer(prepared, QA, EMBEDDING))


def test_a_pass_without_room_is_tried_again_with_all_that_was_behind_it() -> None:
    device = ThreadDevice(TableBackend(room=70))
    prepared, _ = prepare(SPEC, QA, [("w1", words([n % WORDS, *range(9)])) for n in range(40)])
    mine = _engine(device, 16).answer(prepared, QA)
    assert_same_results(
        replace(mine, stats=PassStats()), replace(_engine(TableBackend()).answer(prepared, QA), stats=PassStats())
    )
    assert mine.stats.out_of_memory >= 2
    assert mine.stats.total.windows == 40


def test_an_error_leaves_the_device_to_others_once_it_has_done_what_it_has() -> None:
    backend = TableBackend()
    backend.start_table[FIRST_WORD + 7] = np.nan
    engine = _engine(ThreadDevice(backend), 1)
    bad, good = (prepare(SPEC, QA, rows)[0] for rows in ([("w1", "w7 w8")] * 5, [("w1", "w2 w3")]))
    for _ in range(3):
        with pytest.raises(NotANumber):
            engine.answer(bad, QA)
    with engine.device_lock.online() as granted:
        assert granted
    assert len(answers_of(_found(engine.answer(good, QA)))) == 1


class _Finds(TableBackend):
    """Finds spans itself, as a GPU does."""

    def submit(self, request: PassRequest) -> SubmittedPass:
        finder = SpanFinder.of(request.batch, np.arange(request.batch.windows), request.searches, Transfer(CPU))
        output = super().submit(request).collect()
        assert output.start_logits is not None
        assert output.end_logits is not None
        start, end = (torch.from_numpy(logits) for logits in (output.start_logits, output.end_logits))
        found = read_candidates(finder.find(start, end), np.arange(request.batch.windows))
        return _Ran(replace(output, start_logits=None, end_logits=None, candidates=found))


@dataclass(frozen=True)
class _Ran:
    output: PassOutput
    is_done = True

    def collect(self) -> PassOutput:
        return self.output


def test_tasks_that_want_spans_of_other_kinds_share_a_pass_whose_device_finds_them() -> None:
    kinds = [
        QA.model_copy(update={"top_k": k, "max_answer_len": longest})
        for k, longest in ((1, 6), (5, 2), (3, 6), (40, 30))
    ]
    shards = [
        prepare(SPEC, qa, [("w1", words(range(n, n + 9))), ("w2", words(range(n)))])[0] for n, qa in enumerate(kinds, 3)
    ]
    engine = _engine(_Finds())
    tasks = [engine.begin(shard, Wanted(qa)) for shard, qa in zip(shards, kinds, strict=True)]
    assert run_pass(engine, [Share(task, np.arange(len(task.lengths))) for task in tasks], engine.device_lock.offline)
    for task, shard, qa in zip(tasks, shards, kinds, strict=True):
        alone = _engine(TableBackend()).answer(shard, qa)
        _same(task.results(), alone)


class _CollatedTask(InferenceTask):
    """Counts the batches that are made of its windows."""

    collated = 0

    def batch(self, chosen: Longs) -> Batch:
        self.collated += 1
        return super().batch(chosen)


def test_no_pass_is_made_for_a_device_that_has_no_room_for_it() -> None:
    engine = _engine(ThreadDevice(TableBackend()), 10)
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 60)
    task = _CollatedTask(prepared, SPEC, Wanted(QA), engine.hidden_size)
    with engine.device_lock.offline(0.0):  # another shard's
        results = engine.finish(task)
    assert results.stats.total.passes == task.collated == 6


def test_a_pass_that_is_refused_is_not_chosen_again_before_the_one_in_front_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device_lock = DeviceLock(SharingParameters(quantum_ms=50), clock=lambda: 0.0)
    device_lock.arrived()
    gate = threading.Semaphore(0)
    device = ThreadDevice(TableBackend(), gate.acquire)
    engine = Engine(device, SPEC, BatchingParameters(fixed_windows=1), device_lock)
    for windows in (1, 2, 4) * 3:
        engine.batcher.costs.observe(PassShape.padded(windows, 14), 0.035 * windows)
    choose, chosen = engine.choose, list[int]()

    def counted(schedule: WindowQueue, quantum: float, task: InferenceTask | None = None) -> int:
        chosen.append(choose(schedule, quantum, task))
        return chosen[-1]

    monkeypatch.setattr(engine, "choose", counted)
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 4)
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(engine.answer, prepared, QA)
        until(lambda: ("begun", 0) in _events(device))
        waited_until = time.monotonic() + 0.2
        until(lambda: time.monotonic() >= waited_until)
        gate.release(4)
        assert len(answers_of(_found(answers.result()))) == 4
    assert len(chosen) <= 2 * 4, "70 ms are more than the quantum, and it waits for that"
