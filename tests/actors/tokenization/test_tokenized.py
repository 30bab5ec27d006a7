"""A prepared shard travels as an Arrow buffer."""

from dataclasses import fields, is_dataclass

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.preprocess import prepare_texts
from actors.tokenization.tokenized import Tokenized
from tests.actors.helpers import prepare, strings, word_spec, words

TEXT = st.lists(st.integers(0, 59), max_size=30).map(words) | st.sampled_from(["é日本 😀", "", "w1 ΣΑΣ"])


def _arrays(value: object) -> list[np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """All arrays inside, in the order of the fields."""
    if isinstance(value, np.ndarray):
        return [value]
    if not is_dataclass(value):
        return []
    return [array for field in fields(value) for array in _arrays(getattr(value, field.name))]


def _assert_same(got: Tokenized, sent: Tokenized) -> None:
    for mine, theirs in zip(_arrays(got), _arrays(sent), strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert (got.texts is None) == (sent.texts is None)
    if got.texts is not None:
        assert got.texts.equals(sent.texts)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_a_qa_shard_comes_back_equal(pairs: list[tuple[str, str]]) -> None:
    sent, _ = prepare(word_spec(), QAParameters(max_seq_len=16, doc_stride=2), pairs)
    got = Tokenized.from_ipc(sent.to_ipc())
    _assert_same(got, sent)
    assert got.owners == sent.owners


@given(st.lists(TEXT, max_size=5))
def test_an_embedding_shard_comes_back_equal(texts: list[str]) -> None:
    sent, _ = prepare_texts(word_spec(), EmbeddingParameters(max_seq_len=8), strings(texts))
    got = Tokenized.from_ipc(sent.to_ipc())
    _assert_same(got, sent)
    assert (got.places, got.texts) == (None, None)


def test_the_arrays_are_views_of_the_buffer() -> None:
    sent, _ = prepare(word_spec(), QAParameters(), [("w1", words(range(50))), ("w2", "w3 é")])
    buffer = sent.to_ipc()
    got = Tokenized.from_ipc(buffer)
    assert got.texts is not None
    addresses = [array.ctypes.data for array in _arrays(got)] + [got.texts.buffers()[2].address]
    assert len(addresses) == 15
    assert all(buffer.address <= address < buffer.address + buffer.size for address in addresses)


def test_a_buffer_may_be_bytes_off_the_wire() -> None:
    sent, _ = prepare(word_spec(), QAParameters(), [("w1", "w2 w3")])
    _assert_same(Tokenized.from_ipc(pa.py_buffer(sent.to_ipc().to_pybytes())), sent)


def test_lengths_count_question_passage_and_specials() -> None:
    prepared, _ = prepare(word_spec(), QAParameters(max_seq_len=10, doc_stride=2), [("w1 w2", words(range(9)))])
    # 10 - 3 specials - 2 of the question leave 5 a window: tokens 0-4, 3-7, 6-8.
    assert prepared.lengths(specials=3).tolist() == [10, 10, 8]


def test_a_part_is_its_owners_windows_numbered_from_nought() -> None:
    long, short = words(range(9)), words(range(3))
    prepared, _ = prepare(word_spec(), QAParameters(max_seq_len=10, doc_stride=2), [("w1 w2", long), ("", short)] * 2)
    assert prepared.windows.owner.tolist() == [0, 0, 0, 1, 2, 2, 2, 3]
    _assert_same(prepared.part(slice(3, 7)), prepared.of_owners(np.array([1, 2], dtype=np.int32)))
    assert prepared.part(slice(3, 3)).owners == 0


def test_the_tokens_of_a_window_are_found_by_place_and_number() -> None:
    prepared, _ = prepare(word_spec(), QAParameters(max_seq_len=10, doc_stride=2), [("w1 w2", words(range(9)))] * 2)
    windows, question, passage = prepared.windows, prepared.question, prepared.passage
    for window, (q_from, q_len, p_from, p_len) in enumerate(prepared.window_tokens.tolist()):
        assert (q_from, q_len) == (question.offsets[windows.question[window]], 2)
        assert p_from == passage.offsets[windows.passage[window]] + windows.first[window]
        assert p_len == windows.stop[window] - windows.first[window]


@given(st.lists(TEXT, max_size=6))
def test_the_first_windows_are_those_that_begin_an_owner(texts: list[str]) -> None:
    embedding = EmbeddingParameters(max_seq_len=8, doc_stride=2)
    prepared, _ = prepare_texts(word_spec(), embedding, strings(texts))
    owner = prepared.windows.owner.tolist()
    assert prepared.first_windows.tolist() == [owner.index(number) for number in range(prepared.owners)]
