"""Windows become the padded arrays of one pass."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.collate import collate
from actors.parameters import EmbeddingParameters, QAParameters
from actors.prepare import prepare_texts
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
