"""Windows become the padded arrays of one pass."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.batch import Batch
from actors.engine.collate import collate, stack
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.preprocess import prepare_texts
from tests.actors.helpers import PAD, prepare, strings, word_spec, word_tokenizer, words

QUESTION = st.lists(st.integers(0, 59), max_size=6).map(words)
PASSAGE = st.lists(st.integers(0, 59), min_size=1, max_size=40).map(words)
ROOM, STRIDE = 13, 3


@pytest.mark.parametrize("passage_first", [False, True])
@given(pairs=st.lists(st.tuples(QUESTION, PASSAGE), min_size=1, max_size=4), data=st.data())
def test_a_batch_is_what_the_tokenizer_would_frame(
    passage_first: bool, pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    spec = word_spec(cls_at_the_end=passage_first)
    prepared, _ = prepare(spec, QAParameters(max_seq_len=ROOM + 3, doc_stride=STRIDE), pairs)
    windows = prepared.windows
    order = data.draw(st.permutations(range(len(windows))))
    chosen = np.array(order[: data.draw(st.integers(1, len(order)))], dtype=np.int64)
    batch = collate(prepared, spec.pair, chosen, PAD, uses_type_ids=True)

    tokenizer = word_tokenizer(passage_first)
    assert batch.token_type_ids is not None
    for row, window in enumerate(chosen):
        question, passage = pairs[windows.owner[window]]
        piece = " ".join(passage.split()[windows.first[window] : windows.stop[window]])
        first, second = (piece, question) if passage_first else (question, piece)
        framed = tokenizer.encode(first, second)
        length = len(framed.ids)
        padding = [PAD] * (batch.width - length)
        assert batch.input_ids[row].tolist() == framed.ids + padding
        assert batch.token_type_ids[row].tolist() == framed.type_ids + [0] * len(padding)
        assert batch.lengths[row] == length
        if batch.attention_mask is not None:
            assert batch.attention_mask[row].tolist() == [1] * length + [0] * len(padding)
        which = 0 if passage_first else 1
        mine = [i for i, sequence in enumerate(framed.sequence_ids) if sequence == which]
        start, count = batch.passage_start[row], batch.passage_length[row]
        assert list(range(start, start + count)) == mine
        assert batch.cls is not None
        assert batch.cls[row] == (length - 1 if passage_first else 0)
        own = slice(batch.first[row], batch.first[row] + length)
        assert batch.types is not None
        assert (batch.ids[own].tolist(), batch.types[own].tolist()) == (framed.ids, framed.type_ids)
    assert len(batch.ids) == sum(batch.lengths)
    assert batch.width == max(batch.lengths)
    assert batch.windows == len(chosen)
    assert (batch.attention_mask is None) == (len(set(batch.lengths.tolist())) == 1)


def test_single_texts_are_framed_without_a_question() -> None:
    spec = word_spec()
    prepared, _ = prepare_texts(
        spec, EmbeddingParameters(max_seq_len=8, doc_stride=1), strings([words(range(9)), "w5"])
    )
    batch = collate(prepared, spec.single, np.arange(3), PAD, uses_type_ids=True)
    pieces = [words(range(6)), words(range(5, 9)), "w5"]
    framed = [word_tokenizer().encode(piece).ids for piece in pieces]
    assert [row[:n].tolist() for row, n in zip(batch.input_ids, batch.lengths, strict=True)] == framed
    assert batch.passage_start.tolist() == [1, 1, 1]
    assert batch.passage_length.tolist() == [6, 4, 1]


def test_models_without_token_types_get_none() -> None:
    spec = word_spec()
    prepared, _ = prepare(spec, QAParameters(), [("w1", "w2")])
    assert collate(prepared, spec.pair, np.array([0]), PAD, uses_type_ids=False).token_type_ids is None


def _assert_equal(got: Batch, expected: Batch) -> None:
    padded = ("input_ids", "attention_mask", "token_type_ids")
    for name in (*(field.name for field in fields(Batch)), *padded):
        mine, theirs = getattr(got, name), getattr(expected, name)
        assert (mine is None) == (theirs is None), name
        if mine is not None:
            assert np.asarray(mine).dtype == np.asarray(theirs).dtype
            np.testing.assert_array_equal(mine, theirs, err_msg=name)


@pytest.mark.parametrize("passage_first", [False, True])
@pytest.mark.parametrize("uses_type_ids", [False, True])
@given(pairs=st.lists(st.tuples(QUESTION, PASSAGE), min_size=1, max_size=4), data=st.data())
def test_batches_stacked_are_the_batch_of_all_their_windows(
    passage_first: bool, uses_type_ids: bool, pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    spec = word_spec(cls_at_the_end=passage_first)
    prepared, _ = prepare(spec, QAParameters(max_seq_len=ROOM + 3, doc_stride=STRIDE), pairs)
    order = np.array(data.draw(st.permutations(range(len(prepared.windows)))))
    cuts = data.draw(st.lists(st.integers(1, len(order)), max_size=3))
    parts = [part for part in np.split(order, sorted(cuts)) if len(part)]
    batches = [collate(prepared, spec.pair, part, PAD, uses_type_ids) for part in parts]
    _assert_equal(stack(batches), collate(prepared, spec.pair, order, PAD, uses_type_ids))
