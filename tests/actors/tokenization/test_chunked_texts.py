"""Texts that are prepared for a result for each of their chunks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import ModelError
from actors.parameters import ChunkParameters, EmbeddingParameters
from actors.tokenization.chunked_texts import CHUNK_SCHEMA, check_chunks_fit, prepare_chunks
from actors.tokenization.preprocess import Rejection
from actors.tokenization.tokenized import Tokenized
from tests.actors.helpers import strings, word_spec, words

EMBEDDING = EmbeddingParameters(max_seq_len=8)
BY_TOKENS = ChunkParameters(by="tokens", tokens=2, text=True)
SENTENCES = [f"{words([n, n + 1, n + 2])}." for n in range(0, 30, 3)]


def test_rows_with_one_text_share_its_chunks_and_keep_their_own_numbers() -> None:
    texts = strings(["w1 w2 w3", "", "w4", "w1 w2 w3"])
    prepared, rejected, chunks = prepare_chunks(word_spec(), EMBEDDING, BY_TOKENS, texts)
    assert (rejected.rows.tolist(), rejected.reasons) == ([1], [Rejection.NO_TOKENS])
    assert chunks.schema == CHUNK_SCHEMA
    assert chunks["row"].to_pylist() == [0, 0, 1, 2, 2]
    assert chunks["chunk"].to_pylist() == [0, 1, 0, 0, 1]
    assert chunks["text"].to_pylist() == ["w1 w2", "w3", "w4", "w1 w2", "w3"]
    assert chunks["start"].to_pylist() == [0, 6, 0, 0, 6]
    assert chunks["end"].to_pylist() == [5, 8, 2, 5, 8]
    assert prepared.row_owner.tolist() == [0, 1, 2, 0, 1]
    assert (prepared.owners, prepared.results) == (2, 3)


def test_chunks_as_texts_of_their_own_share_owners_by_text() -> None:
    chunk = BY_TOKENS.model_copy(update={"context": "chunk", "text": False})
    prepared, _, chunks = prepare_chunks(word_spec(), EMBEDDING, chunk, strings(["w1 w2 w1 w2 w3", "w3"]))
    assert prepared.chunks is None
    assert prepared.row_owner.tolist() == [0, 0, 1, 1]
    assert chunks["text"].null_count == len(chunks) == 4


@pytest.mark.parametrize("context", ["document", "chunk"])
def test_no_texts_have_no_chunks(context: str) -> None:
    chunk = ChunkParameters.model_validate({"context": context})
    for texts in ([], ["", " "]):
        prepared, rejected, chunks = prepare_chunks(word_spec(), EMBEDDING, chunk, strings(texts))
        assert (prepared.results, len(prepared.row_owner), len(chunks)) == (0, 0, 0)
        assert rejected.rows.tolist() == list(range(len(texts)))


def test_chunks_travel_to_a_model_actor_and_are_taken_by_owner() -> None:
    texts = strings(["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11 w12"])
    prepared, _, _ = prepare_chunks(word_spec(), EMBEDDING, BY_TOKENS, texts)
    sent = Tokenized.from_ipc(prepared.to_ipc())
    assert sent.chunks is not None
    assert sent.chunks.owner.tolist() == [0, 0, 1, 2, 2, 2, 2]
    owners = prepared.row_owner[[2, 0]]
    assert sent.results_of(owners).tolist() == [3, 4, 5, 6, 0, 1]
    some = sent.of_owners(owners)
    assert some.chunks is not None
    assert some.chunks.owner.tolist() == [0, 0, 0, 0, 1, 1]
    assert some.chunks.first.tolist() == [0, 2, 4, 6, 0, 2]
    assert some.row_owner.tolist() == [0, 1, 2, 3, 4, 5]
    assert some.owners == 2


def test_equal_texts_in_one_document_are_told_apart_by_their_order() -> None:
    texts = strings(["w1 w2 w1 w2 w1 w2", "w1 w2"])
    keys = prepare_chunks(word_spec(), EMBEDDING, BY_TOKENS, texts)[2]["key"].to_pylist()
    assert keys[1:3] == [f"{keys[0]}-2", f"{keys[0]}-3"]
    assert keys[3] == keys[0]
    assert len(keys[0]) == 16


@settings(deadline=None)
@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=8, unique=True), st.integers(0, 7), st.booleans())
def test_a_chunk_keeps_its_key_whatever_becomes_of_the_others(sentences: list[str], place: int, is_late: bool) -> None:
    place = min(place, len(sentences) - 1)
    edited = [*sentences[:place], "w55 w56 w57.", *sentences[place + 1 :]]
    chunk = ChunkParameters(tokens=3, text=True, context="document" if is_late else "chunk")
    texts = strings(["\n\n".join(sentences), "\n\n".join(edited), "\n\n".join(sentences[place:])])
    _, _, chunks = prepare_chunks(word_spec(), EMBEDDING, chunk, texts)
    before, after, shorter = (
        {row["text"]: row["key"] for row in chunks.to_pylist() if row["row"] == number} for number in range(3)
    )
    assert list(before) == sentences
    for text in before.keys() & after.keys():
        assert before[text] == after[text]
    assert shorter.items() <= before.items()
    assert set(before.values()).isdisjoint(set(after.values()) - set(before.values()))
    assert len(set(after.values())) == len(edited)


def test_a_chunk_that_is_embedded_alone_has_to_fit_a_window() -> None:
    spec = word_spec()
    check_chunks_fit(spec, EMBEDDING, ChunkParameters(tokens=6, context="chunk"))
    check_chunks_fit(spec, EMBEDDING, ChunkParameters(tokens=600))
    with pytest.raises(ModelError, match=r"chunk\.tokens is 7, but a window of 8 tokens has only 6 for text"):
        check_chunks_fit(spec, EMBEDDING, ChunkParameters(tokens=7, context="chunk"))
