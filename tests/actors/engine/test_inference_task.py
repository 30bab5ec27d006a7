"""A call gets the same from its passes, however they are cut and shared."""

from dataclasses import fields
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine import inference_task
from actors.engine.decoding.answers import Answers
from actors.engine.engine import Engine
from actors.engine.inference_task import InferenceTask, Wanted
from actors.errors import ModelError
from actors.parameters import (
    BatchingParameters,
    ChunkParameters,
    EmbeddingParameters,
    QAParameters,
    TokenVectorParameters,
)
from actors.tokenization.chunked_texts import prepare_chunks
from actors.tokenization.preprocess import prepare_texts
from actors.tokenization.tokenized import Tokenized
from tests.actors.helpers import (
    FIRST_WORD,
    PAD,
    WORDS,
    TableBackend,
    assert_same_results,
    prepare,
    strings,
    word_spec,
    words,
)

SPEC = word_spec()
QA = QAParameters(max_seq_len=16, doc_stride=3, max_answer_len=4, top_k=3)
EMBEDDING = EmbeddingParameters(max_seq_len=10, doc_stride=2)
PASSAGES = st.lists(st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=30).map(words), min_size=1, max_size=4)

ANSWERS, VECTORS, STATES = Wanted(qa=QA), Wanted(embedding=EMBEDDING), Wanted(window_states=True)
BOTH = Wanted(qa=QA, embedding=EmbeddingParameters())
LATE_CHUNKS = Wanted(embedding=EMBEDDING, late_chunks=True)
KINDS = [ANSWERS, VECTORS, STATES, BOTH, Wanted(embedding=EMBEDDING, window_states=True)]


def _prepared(wanted: Wanted, passages: list[str]) -> Tokenized:
    if wanted.qa is not None:
        return prepare(SPEC, wanted.qa, [("w1 w2", passage) for passage in passages])[0]
    if wanted.late_chunks:
        chunk = ChunkParameters(by="tokens", tokens=7, overlap=2)
        return prepare_chunks(SPEC, EMBEDDING, chunk, strings(passages))[0]
    return prepare_texts(SPEC, EMBEDDING, strings(passages))[0]


def _begin(wanted: Wanted, passages: list[str]) -> InferenceTask:
    return InferenceTask(_prepared(wanted, passages), SPEC, wanted, hidden_size=5)


def _pass(task: InferenceTask, backend: TableBackend, chosen: list[int]) -> None:
    windows = np.array(chosen, dtype=np.int64)
    batch = task.batch(windows)
    output = backend.forward(batch, task.wanted.qa is not None, task.weigh(windows, batch), task.wanted.gives_states)
    task.keep(windows, batch, output)


@pytest.mark.parametrize("wanted", [*KINDS, LATE_CHUNKS])
@given(passages=PASSAGES, data=st.data())
def test_any_order_of_any_passes_gives_the_same(wanted: Wanted, passages: list[str], data: st.DataObject) -> None:
    backend, whole = TableBackend(), _begin(wanted, passages)
    order = data.draw(st.permutations(range(len(whole.prepared.windows))))
    _pass(whole, backend, list(range(len(order))))
    pieces = _begin(wanted, passages)
    while order:
        size = data.draw(st.integers(1, len(order)))
        _pass(pieces, backend, order[:size])
        order = order[size:]
    assert_same_results(pieces.results(), whole.results())


def test_results_hold_no_more_of_a_pass_than_their_own() -> None:
    """Windows of several requests share a pass, and one of them may be kept for long."""
    task = _begin(STATES, ["w3", "w4 w5 w6"])
    _pass(task, TableBackend(), [0, 1])
    assert all(states.base is None for states in task.results().window_states or ())


@given(passages=PASSAGES, most=st.integers(1, 200), impossible=st.booleans(), top_k=st.integers(1, 5), data=st.data())
def test_a_task_of_many_candidates_merges_them_round_by_round(
    passages: list[str], most: int, impossible: bool, top_k: int, data: st.DataObject
) -> None:
    """Whether a round is merged as soon as its windows are there or with all others, the answers are the very same."""
    wanted = Wanted(qa=QA.model_copy(update={"top_k": top_k, "handle_impossible_answer": impossible}))
    backend, whole = TableBackend(), _begin(wanted, passages)
    order = data.draw(st.permutations(range(len(whole.prepared.windows))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference_task, "_MOST_CANDIDATES", most)
        parted = _begin(wanted, passages)
    assert np.concatenate(parted.rounds).tolist() == sorted(order)
    while order:
        size, tries = data.draw(st.integers(1, len(order))), data.draw(st.integers(1, 2))
        _pass(whole, backend, order[:size])
        for _ in range(tries):  # a shared pass that has failed is run again by each of its tasks
            _pass(parted, backend, order[:size])
        order = order[size:]
        if data.draw(st.booleans()):
            parted.merge_complete()
    mine, theirs = parted.results().answers, whole.results().answers
    assert mine is not None
    assert theirs is not None
    for field in fields(Answers):
        got, expected = getattr(mine, field.name), getattr(theirs, field.name)
        assert got.equals(expected) if field.name == "text" else np.array_equal(got, expected)


@given(passages=PASSAGES)
def test_hidden_states_are_those_of_the_tokens_of_each_window(passages: list[str]) -> None:
    backend, task = TableBackend(), _begin(STATES, passages)
    everything = np.arange(len(task.prepared.windows))
    _pass(task, backend, everything.tolist())
    batch, tokens = task.batch(everything), task.results().window_states
    assert tokens is not None
    for row, (states, length) in enumerate(zip(tokens, task.lengths, strict=True)):
        np.testing.assert_array_equal(states, backend.hidden_table[batch.input_ids[row, :length]])


def test_works_of_one_kind_are_those_that_a_backend_can_serve_at_once() -> None:
    kinds = [_begin(wanted, ["w3"]).kind for wanted in KINDS]
    assert len(set(kinds)) == len(KINDS)
    other = Wanted(qa=QAParameters(top_k=1, max_answer_len=9))
    assert _begin(other, ["w3"]).kind == _begin(ANSWERS, ["w3"]).kind, "what is done on the host may differ"


@pytest.mark.parametrize("layers", ["last", (0, 1)])
def test_token_vectors_of_whatever_layers_are_states_that_need_room(
    layers: Literal["last"] | tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three windows of ten tokens with five numbers each.
    monkeypatch.setattr(inference_task, "_MOST_STATE_BYTES", 3 * 10 * 5 * 4)
    task = _begin(
        Wanted(token_vectors=TokenVectorParameters(layers=layers)), [words(range(n, n + 8)) for n in range(7)]
    )
    assert task.lengths.tolist() == [10] * 7
    assert task.windows_of_pass(np.arange(7)) == 3


def test_candidates_with_attribution_wait_in_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    passages = [words([n, n + 1, 0]) for n in range(30)]
    plain = _begin(ANSWERS, passages)
    windows, k = len(plain.lengths), plain.search(slice(0, 1))[0].k
    monkeypatch.setattr(inference_task, "_MOST_CANDIDATES", windows * k)
    assert len(_begin(ANSWERS, passages).rounds) == 1
    attributed = _begin(Wanted(qa=QA, attribution=True), passages).rounds
    assert np.concatenate(attributed).tolist() == list(range(windows))
    assert max(len(chosen) for chosen in attributed) * 15 <= windows


def test_only_what_is_pooled_is_weighed() -> None:
    for wanted in KINDS:
        task = _begin(wanted, ["w3 w4"])
        chosen = np.array([0])
        assert (task.weigh(chosen, task.batch(chosen)) is None) == (wanted.embedding is None)


@pytest.mark.parametrize("wanted", KINDS)
def test_a_number_that_is_none_is_an_error_whatever_is_asked_for(wanted: Wanted) -> None:
    backend = TableBackend()
    for table in (backend.start_table, backend.end_table, backend.hidden_table):
        table[FIRST_WORD + 7] = np.nan
    task = _begin(wanted, ["w3 w4", "w5 w7"])
    _pass(task, backend, [0])
    with pytest.raises(ModelError, match=r"NaN.*model\.precision: exact"):
        _pass(task, backend, [1])


@pytest.mark.parametrize("wanted", [ANSWERS, STATES])
def test_what_the_model_says_of_padding_is_nobodys_business(wanted: Wanted) -> None:
    backend, spoilt = TableBackend(), TableBackend()
    for table in (spoilt.start_table, spoilt.end_table, spoilt.hidden_table):
        table[PAD] = np.nan
    passages = ["w3", "w4 w5 w6"]
    mine, theirs = _begin(wanted, passages), _begin(wanted, passages)
    _pass(mine, spoilt, [0, 1])
    _pass(theirs, backend, [0, 1])
    assert_same_results(mine.results(), theirs.results())


def test_a_call_without_windows_has_results_without_rows() -> None:
    results = _begin(BOTH, []).results()
    assert results.answers is not None
    assert results.embeddings is not None
    assert (len(results.answers.text), results.embeddings.shape) == (0, (0, 5))
    assert _begin(STATES, []).results().window_states == ()


def test_the_engine_begins_calls_as_wide_as_its_model() -> None:
    task = Engine(TableBackend(), SPEC, BatchingParameters()).begin(_prepared(VECTORS, ["w1"]), VECTORS)
    _pass(task, TableBackend(), [0])
    embeddings = task.results().embeddings
    assert embeddings is not None
    assert embeddings.shape == (1, 5)


@pytest.mark.parametrize("wanted", [STATES, LATE_CHUNKS])
def test_passes_bring_no_more_states_to_the_host_than_there_is_room_for(
    wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    passages = [words(range(length)) for length in (3, 9, 30, 1, 2, 14, 5)]
    expected = Engine(TableBackend(), SPEC, BatchingParameters(fixed_windows=64))
    whole = expected.finish(expected.begin(_prepared(wanted, passages), wanted))
    # Three windows of ten tokens with five numbers each; and room for none, so that each comes alone.
    for room, most in ((3 * 10 * 5 * 4, 30), (1, 10)):
        monkeypatch.setattr(inference_task, "_MOST_STATE_BYTES", room)
        backend = TableBackend()
        engine = Engine(backend, SPEC, BatchingParameters(fixed_windows=64))
        found = engine.finish(engine.begin(_prepared(wanted, passages), wanted))
        assert_same_results(found, whole)
        assert max(windows * width for windows, width in backend.shapes) <= most


def test_float16_token_vectors_hold_no_infinity() -> None:
    backend = TableBackend()
    backend.hidden_table[FIRST_WORD + 3, 0] = 70_000
    wanted = Wanted(token_vectors=TokenVectorParameters(dtype="float16"))
    task = _begin(wanted, ["w2 w3"])
    _pass(task, backend, [0])
    vectors = task.results().token_vectors
    assert vectors is not None
    assert vectors.to_pylist()[0][1][0] == 65_504
