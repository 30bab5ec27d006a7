"""Windows in, answers and embeddings out; and a batch never changes an answer."""

import math
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actors.arrays import Floats
from actors.backends.base import PassOutput
from actors.batch import Batch
from actors.engine.collate import collate
from actors.engine.cost_model import PassShape
from actors.engine.decoding.answers import Answers
from actors.engine.device_lock import DeviceLock
from actors.engine.engine import Engine
from actors.engine.inference_task import Results, Wanted
from actors.engine.passes import Pass, Share
from actors.errors import DeviceLost, ModelError, NoRoom, OutOfMemory, WindowTooLarge
from actors.parameters import (
    AttentionParameters,
    BatchingParameters,
    EmbeddingParameters,
    QAParameters,
    SharingParameters,
)
from actors.tokenization.preprocess import prepare_texts
from tests.actors.conftest import Loaded
from tests.actors.helpers import (
    FIRST_WORD,
    GOLDEN,
    MODELS,
    WORDS,
    Answer,
    TableBackend,
    answers_of,
    prepare,
    read_lines,
    run_pass,
    same_up_to_ties,
    strings,
    word_ids,
    word_spec,
    words,
)
from tests.actors.scheduling.deep_backend import DeepBackend

SPEC = word_spec()
QA = QAParameters(max_seq_len=24, doc_stride=4, max_answer_len=6)
EMBEDDING = EmbeddingParameters(max_seq_len=16, doc_stride=3)


def _golden_pairs() -> list[tuple[str, str]]:
    records = read_lines(GOLDEN / "passages.jsonl")
    # Literal special tokens and blank passages have tests of their own.
    return [(q, r["context"]) for r in records for q in r["questions"] if r["context"].strip() and "[CLS]" not in q]


PAIRS = _golden_pairs()
SHAPES = [QAParameters(top_k=4), QAParameters(max_seq_len=96, doc_stride=24, top_k=4, handle_impossible_answer=True)]


@lru_cache(maxsize=512)
def _alone(model: Loaded, pair: int, shape: int) -> tuple[list[Answer], np.ndarray]:
    """A pair's answers and its passage's embedding, in a shard of its own, one window a pass."""
    prepared, _ = prepare(model.spec, SHAPES[shape], [PAIRS[pair]])
    results = model.engine(BatchingParameters(fixed_windows=1)).answer(prepared, SHAPES[shape], EmbeddingParameters())
    return answers_of(_checked(results))[0], _embeddings(results)[0]


def _checked(results: Results) -> Answers:
    assert results.answers is not None
    return results.answers


def _embeddings(results: Results) -> np.ndarray:
    assert results.embeddings is not None
    return results.embeddings


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15)
@given(
    company=st.lists(st.integers(0, len(PAIRS) - 1), min_size=1, max_size=8),
    fixed=st.none() | st.integers(1, 9),
    shape=st.integers(0, len(SHAPES) - 1),
)
def test_a_batch_never_changes_an_answer(
    models: dict[str, Loaded], name: str, company: list[int], fixed: int | None, shape: int
) -> None:
    """Spans equal unless two score within 1e-4, scores to 1e-4, embeddings to 1e-5, in any company and order."""
    model = models[name]
    prepared, rejected = prepare(model.spec, SHAPES[shape], [PAIRS[i] for i in company])
    kept = [pair for row, pair in enumerate(company) if row not in rejected.rows]
    results = model.engine(BatchingParameters(fixed_windows=fixed)).answer(
        prepared, SHAPES[shape], EmbeddingParameters()
    )
    for pair, got, embedding in zip(kept, answers_of(_checked(results)), _embeddings(results), strict=True):
        expected, alone = _alone(model, pair, shape)
        assert same_up_to_ties(got, expected), (PAIRS[pair], got, expected)
        np.testing.assert_allclose(embedding, alone, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=15)
@given(
    calls=st.lists(
        st.tuples(st.integers(0, len(PAIRS) - 1), st.sampled_from(range(len(SHAPES)))), min_size=2, max_size=6
    )
)
def test_calls_that_share_a_pass_get_what_each_gets_alone(
    models: dict[str, Loaded], name: str, calls: list[tuple[int, int]]
) -> None:
    model = models[name]
    engine = model.engine()
    kept, tasks = [], []
    for pair, shape in calls:
        prepared, rejected = prepare(model.spec, SHAPES[shape], [PAIRS[pair]])
        if not len(rejected.rows):
            kept.append((pair, shape))
            tasks.append(engine.begin(prepared, Wanted(SHAPES[shape], EmbeddingParameters())))
    assume(tasks)
    shares = [Share(task, np.arange(len(task.prepared.windows))) for task in tasks]
    assert run_pass(engine, shares, engine.device_lock.offline)
    for (pair, shape), task in zip(kept, tasks, strict=True):
        expected, embedding = _alone(model, pair, shape)
        results = task.results()
        assert same_up_to_ties(answers_of(_checked(results))[0], expected)
        np.testing.assert_allclose(_embeddings(results)[0], embedding, atol=1e-5)
        assert results.stats.total.windows == len(task.prepared.windows)


@pytest.mark.parametrize("name", MODELS)
def test_hidden_states_agree_alone_and_in_company(models: dict[str, Loaded], name: str) -> None:
    model, texts = models[name], [context for _, context in PAIRS[:40:5]]
    engine, wanted = model.engine(BatchingParameters(fixed_windows=64)), Wanted(window_states=True)
    together = engine.finish(
        engine.begin(prepare_texts(model.spec, EMBEDDING, strings(texts))[0], wanted)
    ).window_states
    assert together is not None
    assert {states.shape[1] for states in together} == {engine.hidden_size}
    alone: list[np.ndarray] = []
    for text in dict.fromkeys(texts):
        prepared, _ = prepare_texts(model.spec, EMBEDDING, strings([text]))
        alone += engine.finish(engine.begin(prepared, wanted)).window_states or ()
    for mine, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def _row_of(batch: Batch, row: int) -> Batch:
    """One window of a batch, by itself and without its padding."""
    one, own = slice(row, row + 1), slice(batch.first[row], batch.first[row] + batch.lengths[row])
    return Batch(
        ids=batch.ids[own],
        types=None if batch.types is None else batch.types[own],
        lengths=batch.lengths[one],
        passage_start=batch.passage_start[one],
        passage_length=batch.passage_length[one],
        cls=None if batch.cls is None else batch.cls[one],
        pad_id=batch.pad_id,
    )


@pytest.mark.parametrize("name", MODELS)
def test_logits_agree_alone_and_in_company(models: dict[str, Loaded], name: str) -> None:
    model = models[name]
    prepared, _ = prepare(model.spec, QAParameters(max_seq_len=128), PAIRS[::3])
    everything = np.arange(min(40, len(prepared.windows)))
    batch = collate(prepared, model.spec.pair, everything, model.spec.pad_id, model.spec.uses_type_ids)
    assert batch.attention_mask is not None
    together = model.backend.forward(batch, True, None)
    for row in range(batch.windows):
        length = int(batch.lengths[row])
        alone = model.backend.forward(_row_of(batch, row), True, None)
        for mine, theirs in ((together.start_logits, alone.start_logits), (together.end_logits, alone.end_logits)):
            assert mine is not None
            assert theirs is not None
            np.testing.assert_allclose(mine[row, :length], theirs[0], atol=1e-5, rtol=1e-5)


def _table_engine(backend: TableBackend, batching: BatchingParameters | None = None) -> Engine:
    return Engine(backend, SPEC, batching or BatchingParameters())


def _best_by_hand(backend: TableBackend, question: str, passage: str) -> tuple[int, int, float]:
    """The best span of a passage that fits one window, with its probability."""
    ids = [*word_ids(passage), 2]  # and [CLS]
    start, end = (np.exp(table[ids].astype(np.float64)) for table in (backend.start_table, backend.end_table))
    start, end = start / start.sum(), end / end.sum()
    count = len(ids) - 1
    spans = [(float(start[s] * end[e]), s, e) for s in range(count) for e in range(s, min(s + 6, count))]
    score, s, e = max(spans, key=lambda span: span[0])
    return s, e, score


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, WORDS - 1), max_size=4), st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=9)
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(20, 400),
)
def test_every_row_gets_its_own_answer_whatever_fits(pairs: list[tuple[list[int], list[int]]], room: int) -> None:
    """Distinct words, so that texts merge only where spans are equal; a device that runs out of room now and then."""
    texts = [(words(q), words(list(dict.fromkeys(p)))) for q, p in pairs]
    backend = TableBackend(room=room)
    prepared, _ = prepare(SPEC, QA, texts)
    results = _table_engine(backend).answer(prepared, QA)
    for (question, passage), (answer,) in zip(texts, answers_of(_checked(results)), strict=True):
        s, e, score = _best_by_hand(backend, question, passage)
        assert answer.text == " ".join(passage.split()[s : e + 1])
        assert passage[answer.start : answer.end] == answer.text
        assert answer.score == pytest.approx(score, rel=1e-4)
    assert results.stats.total.windows == len(texts)
    assert results.stats.total.passes + results.stats.out_of_memory == len(backend.shapes)


def test_running_out_of_memory_is_retried_smaller_and_counted() -> None:
    backend = TableBackend(room=70)
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 40)  # 14 tokens a window, so 5 fit
    batching = BatchingParameters(fixed_windows=16)
    results = _table_engine(backend, batching).answer(prepared, QA)
    assert results.stats.out_of_memory == 2, "16 and 8 do not fit"
    assert backend.shapes[:3] == [(16, 14), (8, 14), (4, 14)]
    assert (results.stats.total.windows, results.stats.total.passes) == (40, 10)
    texts = _checked(results).text.to_pylist()
    assert len(set(texts)) == 1
    assert len(texts) == 40


def test_a_window_that_never_fits_is_an_error() -> None:
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))])
    with pytest.raises(WindowTooLarge, match="14 tokens"):
        _table_engine(TableBackend(room=13)).answer(prepared, QA)


def test_logits_that_are_nan_are_an_error_not_an_answer() -> None:
    backend = TableBackend()
    backend.start_table[FIRST_WORD + 7] = np.nan
    prepared, _ = prepare(SPEC, QA, [("w1", "w2 w3"), ("w1", "w7 w8")])
    with pytest.raises(ModelError, match=r"NaN.*model\.precision: exact"):
        _table_engine(backend).answer(prepared, QA)


def test_embeddings_that_are_nan_are_an_error_too() -> None:
    backend = TableBackend()
    backend.hidden_table[FIRST_WORD + 7] = np.nan
    prepared, _ = prepare(SPEC, QA, [("w1", "w2 w3"), ("w1", "w7 w8")])
    with pytest.raises(ModelError, match=r"NaN.*model\.precision: exact"):
        _table_engine(backend).answer(prepared, QA, EmbeddingParameters())


class _NoLogits(TableBackend):
    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        return super().forward(batch, False, pool_weights, want_hidden)


def test_a_backend_without_logits_is_an_error() -> None:
    prepared, _ = prepare(SPEC, QA, [("w1", "w2 w3")])
    with pytest.raises(ModelError, match="no logits"):
        _table_engine(_NoLogits()).answer(prepared, QA)


def test_what_was_learnt_outlives_the_shard() -> None:
    backend = TableBackend(room=70)
    engine = _table_engine(backend, BatchingParameters(fixed_windows=16))
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 20)
    engine.answer(prepared, QA)
    again = engine.answer(prepared, QA)
    assert again.stats.out_of_memory == 0


def test_stats_count_windows_tokens_and_padding() -> None:
    prepared, _ = prepare(SPEC, QA, [("w1", "w2 w3"), ("w1", words(range(6)))])
    stats = _table_engine(TableBackend(), BatchingParameters(fixed_windows=2)).answer(prepared, QA).stats
    assert (stats.total.passes, stats.total.windows, stats.total.tokens, stats.total.padded_tokens) == (1, 2, 16, 20)
    assert stats.total.padding == pytest.approx(0.2)
    assert stats.total.seconds > 0


def test_several_threads_get_what_each_would_get_alone() -> None:
    engine = _table_engine(TableBackend())
    rng = np.random.default_rng(0)
    shards = []
    for _ in range(8):
        texts = [
            (words(rng.integers(0, WORDS, 3).tolist()), words(rng.permutation(WORDS)[:30].tolist())) for _ in range(30)
        ]
        shards.append(prepare(SPEC, QA, texts)[0])
    expected = [_checked(_table_engine(TableBackend()).answer(shard, QA)) for shard in shards]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda shard: engine.answer(shard, QA), shards))
    for got, alone in zip(results, expected, strict=True):
        assert _checked(got).text.equals(alone.text)
        np.testing.assert_allclose(_checked(got).score, alone.score, rtol=1e-6)
        assert got.stats.total.windows == 30 * 2


def test_embedding_asks_for_no_logits_and_answers_for_no_vectors() -> None:
    prepared, _ = prepare(SPEC, QA, [("w1", "w2 w3")])
    assert _table_engine(TableBackend()).answer(prepared, QA).embeddings is None
    texts, _ = prepare_texts(SPEC, EMBEDDING, strings(["w2 w3"]))
    results = _table_engine(TableBackend()).embed(texts, EMBEDDING)
    assert results.answers is None
    assert _embeddings(results).shape == (1, 5)


@pytest.mark.parametrize("embedding", [None, EMBEDDING])
@pytest.mark.parametrize("impossible", [False, True])
@pytest.mark.parametrize("top_k", [1, 3])
def test_a_shard_without_rows_has_results_without_rows(
    embedding: EmbeddingParameters | None, impossible: bool, top_k: int
) -> None:
    qa = QAParameters(top_k=top_k, handle_impossible_answer=impossible)
    prepared, rejected = prepare(SPEC, qa, [("w1", "")])
    assert len(rejected.rows) == 1
    results = _table_engine(TableBackend()).answer(prepared, qa, embedding)
    assert (_checked(results).offsets.tolist(), len(_checked(results).text)) == ([0], 0)
    assert results.stats.total.passes == 0
    if embedding is not None:
        assert _embeddings(results).shape == (0, 5)


def test_an_engine_knows_its_width() -> None:
    assert _table_engine(TableBackend()).hidden_size == 5


class _Reporting(TableBackend):
    """Says how much room it has, and what a pass took."""

    @property
    def memory_limit(self) -> int | None:
        return 10_000

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        if batch.input_ids.size * 10 > 10_000:
            raise OutOfMemory("more than it said")
        output = super().forward(batch, want_spans, pool_weights)
        return PassOutput(output.start_logits, output.end_logits, output.pooled, batch.input_ids.size * 10)


def test_reported_memory_bounds_the_passes() -> None:
    backend = _Reporting()
    engine = _table_engine(backend, BatchingParameters(memory_share=0.5))
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 3000)
    results = engine.answer(prepared, QA)
    assert results.stats.out_of_memory == 0
    assert max(n * width * 10 for n, width in backend.shapes) <= 5_000


class _Shared(TableBackend):
    """A device of which another process takes a part now and then."""

    def __init__(self, room: int, told: bool = False) -> None:
        super().__init__()
        self.room, self.told = room, told

    @property
    def memory_limit(self) -> int | None:
        return int(self.room) if self.told else None

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        self.shapes.append(batch.input_ids.shape)
        if batch.input_ids.size > self.room:
            raise OutOfMemory("the table is full")
        output = super().forward(batch, want_spans, pool_weights, want_hidden)
        self.shapes.pop()
        return PassOutput(output.start_logits, output.end_logits, None, batch.input_ids.size if self.told else None)

    def largest(self, last: int) -> int:
        """Tokens of the largest of the last passes that fitted."""
        return max(n * width for n, width in self.shapes[-last:] if n * width <= self.room)


ROWS = [("w1", words(range(10)))] * 128  # a window of 14 tokens each
ALL = len(ROWS) * 14


def test_passes_grow_again_when_there_is_room_again() -> None:
    backend = _Shared(room=2 * ALL)
    engine = _table_engine(backend, BatchingParameters(fixed_windows=128))
    prepared, _ = prepare(SPEC, QA, ROWS)
    engine.answer(prepared, QA)
    backend.room = ALL // 32
    assert engine.answer(prepared, QA).stats.out_of_memory >= 5
    assert backend.largest(last=10) <= ALL // 32
    backend.room = 2 * ALL
    passes = len(backend.shapes)
    while backend.largest(last=1) < ALL:
        engine.answer(prepared, QA)
        assert len(backend.shapes) - passes < 1000


def test_a_device_that_is_full_for_good_loses_few_passes_to_trying() -> None:
    backend = _Shared(room=ALL // 10)
    engine = _table_engine(backend, BatchingParameters(fixed_windows=128))
    prepared, _ = prepare(SPEC, QA, ROWS)
    failed = passes = 0
    while passes < 4000:
        stats = engine.answer(prepared, QA).stats
        failed, passes = failed + stats.out_of_memory, passes + stats.total.passes
    assert failed <= 16
    assert backend.largest(last=20) > 0.7 * backend.room, "what there is, is used"


def test_the_memory_that_is_free_is_read_again() -> None:
    backend = _Shared(room=10 * ALL, told=True)
    engine = _table_engine(backend, BatchingParameters(fixed_windows=128, memory_share=0.8))
    prepared, _ = prepare(SPEC, QA, ROWS)
    for _ in range(20):
        engine.answer(prepared, QA)
    assert backend.shapes[-1] == (128, 14)
    backend.room = ALL + 1  # another actor has taken the rest, and a pass of all still fits
    for _ in range(20):
        assert engine.answer(prepared, QA).stats.out_of_memory == 0
    assert max(n * width for n, width in backend.shapes[-5:]) <= 0.8 * backend.room
    backend.room = 10 * ALL
    for _ in range(20):
        engine.answer(prepared, QA)
    assert backend.shapes[-1] == (128, 14)


def test_a_window_that_fitted_before_waits_for_its_room_and_is_not_called_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others may take all of the memory for a moment; where it does not come back, other windows are computed still."""
    backend = _Shared(room=ALL)
    engine = _table_engine(backend)
    prepared, short = (prepare(SPEC, QA, rows)[0] for rows in (ROWS[:2], [("w1", "w2")]))
    engine.answer(prepared, QA)
    backend.room = 0
    waited: list[float] = []
    first_time = True

    def room_comes_back(seconds: float) -> None:
        waited.append(seconds)
        backend.room = ALL if first_time and len(waited) == 2 else 13
        with engine.device_lock.offline(0.0) as granted:
            assert granted, "the device is free for others"

    monkeypatch.setattr("actors.engine.engine.time.sleep", room_comes_back)
    assert len(_checked(engine.answer(prepared, QA)).text) == 2
    assert len(waited) == 2
    backend.room, first_time = 13, False
    for _ in range(2):
        waited.clear()
        with pytest.raises(NoRoom, match=r"a window of 14 tokens has no room .* one fitted before: the table is full"):
            engine.answer(prepared, QA)
        assert len(waited) == 4
        assert len(_checked(engine.answer(short, QA)).text) == 1
    engine.check_device()


class _Failing(TableBackend):
    """Fails at a token, and where that is a device's end, at everything from then on."""

    def __init__(self, error: Exception, for_ever: bool) -> None:
        super().__init__()
        self.error, self._for_ever, self._lost = error, for_ever, False

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        if self._lost or (batch.input_ids == FIRST_WORD + 7).any():
            self._lost = self._for_ever
            self.shapes.append(batch.input_ids.shape)
            raise self.error
        return super().forward(batch, want_spans, pool_weights, want_hidden)


GOOD, GUILTY = [("w1", "w2 w3")], [("w1", "w2 w7")]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        DeviceLost("the link is down"),
        # What no list of texts knows is found out by a pass of nothing but padding.
        RuntimeError("accelerator 0: status 0xdead"),
    ],
)
def test_a_lost_device_is_an_error_of_its_own_and_stays_lost(error: Exception) -> None:
    backend = _Failing(error, for_ever=True)
    engine = _table_engine(backend)
    told: list[DeviceLost] = []
    engine.when_lost(told.append)
    good, guilty = (prepare(SPEC, QA, pairs)[0] for pairs in (GOOD, GUILTY))
    assert len(_checked(engine.answer(good, QA)).text) == 1
    engine.check_device()
    with pytest.raises(DeviceLost, match=r"^the device is lost: "):
        engine.answer(guilty, QA)
    passes = len(backend.shapes)
    for shard in (good, guilty):
        with pytest.raises(DeviceLost, match=str(error).removeprefix("the device is lost: ")):
            engine.answer(shard, QA)
    assert len(backend.shapes) == passes, "nothing is asked of it any more"
    with pytest.raises(DeviceLost):
        engine.check_device()
    assert len(told) == 1


class _Unread(TableBackend):
    """A device that is lost when its free memory is asked for."""

    lost_from = math.inf
    """The reading that finds it lost."""
    reads = 0

    @property
    def memory_limit(self) -> int | None:
        self.reads += 1
        if self.reads >= self.lost_from:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return None


@pytest.mark.parametrize("room", [None, 8])
def test_a_device_that_is_lost_while_its_memory_is_read_is_noticed(room: int | None) -> None:
    """Before a pass, and after one that had no room."""
    backend = _Unread()
    engine = _table_engine(backend)
    good, long = (prepare(SPEC, QA, pairs)[0] for pairs in (GOOD, ROWS[:1]))
    engine.answer(good, QA)
    backend.lost_from, backend.room = backend.reads + 1, math.inf if room is None else room
    told: list[DeviceLost] = []
    engine.when_lost(told.append)

    def answer_on() -> None:
        for _ in range(40):
            engine.answer(good if room is None else long, QA)

    with pytest.raises(DeviceLost, match="illegal memory access"):
        answer_on()
    with pytest.raises(DeviceLost):
        engine.check_device()
    assert len(told) == 1


@pytest.mark.parametrize("wanted", [Wanted(QA), Wanted(QA, EMBEDDING), Wanted(window_states=True)])
def test_an_error_that_only_some_input_causes_loses_no_device(wanted: Wanted) -> None:
    backend = _Failing(IndexError("index out of range"), for_ever=False)
    engine = _table_engine(backend)
    with pytest.raises(IndexError):
        engine.finish(engine.begin(prepare(SPEC, QA, GUILTY)[0], wanted))
    engine.check_device()
    engine.finish(engine.begin(prepare(SPEC, QA, GOOD)[0], wanted))


def _peak(act: Callable[[], object]) -> int:
    """Most bytes that numpy and Python held at once, beyond what they held before."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_with_the_answers_and_not_with_their_candidates() -> None:
    qa, rng = QAParameters(top_k=400, max_answer_len=8), np.random.default_rng(0)
    rows = [("w1", words(rng.integers(0, WORDS, 60).tolist())) for _ in range(2000)]
    few, many = (prepare(SPEC, qa, some)[0] for some in (rows[:1000], rows))
    engine = _table_engine(TableBackend(), BatchingParameters(fixed_windows=32))
    answers = len(_checked(engine.answer(many, qa)).text)
    assert answers > 400_000
    grown = _peak(lambda: engine.answer(many, qa)) - _peak(lambda: engine.answer(few, qa))
    assert grown < 100 * (answers / 2), "before they were merged row by row, it was 400 bytes for a candidate"


def test_a_piece_of_a_shard_costs_what_it_holds_however_long_the_shard_is() -> None:
    rng = np.random.default_rng(0)
    texts = [words(rng.integers(0, WORDS, 150).tolist()) + f" é{row}" for row in range(4000)]
    whole, _ = prepare(SPEC, QAParameters(), [("w1", text) for text in texts])
    engine = _table_engine(TableBackend(), BatchingParameters(fixed_windows=16))
    owners = np.arange(0, len(texts), 200, dtype=np.int32)
    piece = whole.of_owners(owners)
    assert whole.texts is not None
    assert _peak(lambda: engine.answer(piece, QAParameters())) < whole.texts.nbytes
    found = answers_of(_checked(engine.answer(piece, QAParameters())))
    alone = answers_of(_checked(engine.answer(whole, QAParameters())))
    assert [one.text for (one,) in found] == [alone[owner][0].text for owner in owners]


def test_finding_spans_counts_in_what_a_request_is_predicted_to_take() -> None:
    engine = _table_engine(TableBackend(), BatchingParameters(fixed_windows=16))
    cheap, dear = QAParameters(), QAParameters(top_k=1000, max_answer_len=100)
    prepared, _ = prepare(SPEC, cheap, [("w1", words(range(50)))] * 32)
    asked, listed = (engine.begin(prepared, Wanted(qa)) for qa in (cheap, dear))
    embedded = engine.begin(prepared, Wanted(embedding=EMBEDDING))
    assert engine.predicted(asked.lengths, listed) == 0.0, "nothing is known yet"
    # Next to nothing for the pass itself, which a busy machine would make of any length.
    for windows in (16, 8, 4, 2, 1) * 3:
        engine.batcher.costs.observe(PassShape.padded(windows, 54), 1e-6 * windows)
    plain, some, more = (engine.predicted(asked.lengths, task) for task in (embedded, asked, listed))
    assert 0 < plain == engine.predicted(asked.lengths) < some < more
    quantum = engine.predicted(asked.lengths[:8], asked)
    assert engine.windows_within(quantum, 54, 32, listed) < engine.windows_within(quantum, 54, 32, asked)


def test_one_bad_measurement_says_little_of_how_long_finding_spans_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _table_engine(TableBackend(), BatchingParameters(fixed_windows=64))
    qa = QAParameters(top_k=100, max_answer_len=50)
    prepared, _ = prepare(SPEC, qa, [("w1", f"{words(range(50))} é{row}") for row in range(64)])
    task = engine.begin(prepared, Wanted(qa))
    for _ in range(40):
        engine.answer(prepared, qa)
    before = engine.decoding_seconds(task, 16, 54)
    clock = iter(range(0, 1_000_000, 1000))
    monkeypatch.setattr("actors.engine.engine.time.perf_counter", lambda: float(next(clock)))
    engine.answer(prepared, qa)
    assert before < engine.decoding_seconds(task, 16, 54) <= 1.21 * before


class _Visited(TableBackend):
    """Lets something happen during each pass."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        self._happens()
        return super().forward(batch, want_spans, pool_weights, want_hidden)


def test_offline_passes_are_short_from_the_moment_that_a_request_comes() -> None:
    device_lock = DeviceLock(SharingParameters(quantum_ms=50), clock=lambda: 0.0)
    backend = _Visited(lambda: device_lock.arrived() if len(backend.shapes) == 1 else None)
    engine = Engine(backend, SPEC, BatchingParameters(fixed_windows=16), device_lock)
    for windows in (16, 16, 8, 4, 2, 1):
        engine.batcher.costs.observe(PassShape.padded(windows, 14), 0.02 * windows)
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 40)
    results = engine.answer(prepared, QA)
    assert len(_checked(results).text) == 40
    assert [n for n, _ in backend.shapes][:2] == [16, 16], "it came during the second pass"
    assert max(n for n, _ in backend.shapes[2:]) < 16


def test_a_pass_whose_turn_is_not_given_leaves_no_trace() -> None:
    device_lock = DeviceLock(SharingParameters(quantum_ms=50), clock=lambda: 0.0)
    backend = TableBackend()
    engine = Engine(backend, SPEC, BatchingParameters(), device_lock)
    for _ in range(2):
        engine.batcher.costs.observe(PassShape.padded(2, 14), 1.0)
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 2)
    task = engine.begin(prepared, Wanted(QA))
    device_lock.arrived()
    assert not run_pass(engine, [Share(task, np.arange(2))], device_lock.offline)
    assert backend.shapes == []
    assert task.stats.total.passes == 0
    assert run_pass(engine, [Share(task, np.arange(1))], device_lock.offline), "nothing is smaller than one window"


def test_windows_within_some_seconds() -> None:
    engine = _table_engine(TableBackend())
    assert engine.windows_within(1.0, 10, 5) == 1, "nothing is known yet"
    assert engine.windows_within(math.inf, 10, 5) == 5
    for windows in (4, 4, 1, 2):
        engine.batcher.costs.observe(PassShape.padded(windows, 10), 0.1 * windows)
    assert [engine.windows_within(s, 10, 5) for s in (0.01, 0.25, 0.31, 9.0)] == [1, 2, 3, 5]


def test_who_watches_is_told_of_every_pass() -> None:
    engine = _table_engine(TableBackend(room=70), BatchingParameters(fixed_windows=8))
    passes: list[Pass] = []
    engine.watch(passes.append)
    prepared, _ = prepare(SPEC, QA, [("w1", words(range(10)))] * 8 + [("w1", "w2")])
    stats = engine.answer(prepared, QA).stats
    task = engine.begin(prepared, Wanted(QA))
    assert run_pass(engine, [Share(task, np.arange(2))], lambda *_: engine.device_lock.online(), online=True)
    assert [p.size for p in passes] == [
        PassShape.padded(4, 14),
        PassShape.padded(4, 14),
        PassShape.padded(1, 5),
        PassShape.padded(2, 14),
    ]
    assert [p.tokens for p in passes] == [56, 56, 5, 28]
    assert [p.online for p in passes] == [False] * 3 + [True]
    assert sum(p.seconds for p in passes[:3]) == pytest.approx(stats.total.seconds)


class _SmallHost(DeepBackend):
    """Has room for little."""

    free = 10_000

    @property
    def memory_limit(self) -> int | None:
        return self.free


def test_attention_that_has_no_room_in_memory_is_refused_before_any_pass() -> None:
    backend = _SmallHost()
    engine = Engine(backend, SPEC, BatchingParameters(memory_share=0.5))
    embedding, wanted = EmbeddingParameters(), Wanted(attention=AttentionParameters())
    short, long = (prepare_texts(SPEC, embedding, strings([words([1] * n)]), keep_texts=True)[0] for n in (15, 16))
    # Two layers with two heads: 4 weights, of 4 bytes, for each pair of tokens, special ones included.
    engine.begin(short, wanted)
    with pytest.raises(WindowTooLarge, match=r"a window of 18 tokens takes 0 MiB in 2 layers.*lower max_seq_len"):
        engine.begin(long, wanted)
    engine.begin(long, Wanted(layer_vectors=True))
    assert backend.passes == []
    # What holds the rest for a while, as a pass in flight does, says nothing of the window.
    backend.free = 5_000
    with pytest.raises(NoRoom, match=r"a window of 17 tokens takes 0 MiB in 2 layers, and 0 of the device's memory"):
        engine.begin(short, wanted)
    with pytest.raises(WindowTooLarge):
        engine.begin(long, wanted)
