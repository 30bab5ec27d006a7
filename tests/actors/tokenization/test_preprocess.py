"""Texts become windows, each distinct text tokenised once."""

import pytest

from actors.errors import ModelError
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.preprocess import (
    Rejection,
    WindowSize,
    embedding_window_size,
    prepare_pairs,
    prepare_texts,
    qa_window_size,
)
from actors.tokenization.tokenized import Tokenized
from tests.actors.helpers import prepare, strings, word_ids, word_spec, words

PASSAGE = words(range(20))


def test_texts_that_rows_share_are_tokenised_once() -> None:
    pairs = [("w1", PASSAGE), ("w2 w3", PASSAGE), ("w1", PASSAGE), ("w1", "w9")]
    prepared, rejected = prepare(word_spec(), QAParameters(), pairs)
    assert prepared.question.ids.tolist() == word_ids("w1 w2 w3")
    assert prepared.passage.ids.tolist() == word_ids(PASSAGE + " w9")
    assert prepared.texts is not None
    assert prepared.texts.to_pylist() == [PASSAGE, "w9"]
    assert prepared.windows.question.tolist() == [0, 1, 0, 0]
    assert prepared.windows.passage.tolist() == [0, 0, 0, 1]
    assert prepared.row_owner.tolist() == prepared.windows.owner.tolist() == [0, 1, 2, 3]
    assert rejected.rows.tolist() == []


def test_rows_with_the_same_text_share_one_embedding() -> None:
    prepared, _ = prepare_texts(word_spec(), EmbeddingParameters(), strings(["w1 w2", "w3", "w1 w2"]))
    assert prepared.row_owner.tolist() == [0, 1, 0]
    assert prepared.owners == 2
    assert prepared.passage.ids.tolist() == word_ids("w1 w2 w3")


def test_rejected_rows_are_named_and_the_others_keep_their_order() -> None:
    long_question = words(range(15))
    pairs = [("w1", "w2"), ("w1", ""), (long_question, PASSAGE), ("w3", "w4"), ("", " \n"), (words(range(17)), "w1")]
    prepared, rejected = prepare(word_spec(), QAParameters(max_seq_len=20, doc_stride=3), pairs)
    assert rejected.rows.tolist() == [1, 2, 4, 5]
    assert rejected.reasons == [
        Rejection.NO_TOKENS,
        Rejection.QUESTION_TOO_LONG,
        Rejection.NO_TOKENS,
        Rejection.QUESTION_TOO_LONG,
    ]
    assert prepared.owners == len(prepared.row_owner) == 2
    assert prepared.texts is not None
    assert [prepared.texts[int(p)].as_py() for p in prepared.windows.passage] == ["w2", "w4"]


def test_a_question_that_nearly_fills_the_window_may_ask_a_short_passage() -> None:
    # 15 of 17 tokens of room: two are left, less than the overlap of three, but the passage needs no second window.
    prepared, rejected = prepare(word_spec(), QAParameters(max_seq_len=20, doc_stride=3), [(words(range(15)), "w1 w2")])
    assert (prepared.owners, rejected.rows.tolist()) == (1, [])


def test_an_empty_question_is_asked_like_any_other() -> None:
    prepared, rejected = prepare(word_spec(), QAParameters(), [("", "w1")])
    assert (prepared.owners, rejected.rows.tolist()) == (1, [])


def test_texts_without_tokens_have_no_embedding() -> None:
    prepared, rejected = prepare_texts(word_spec(), EmbeddingParameters(), strings([" ", "w1", "", " ", "w2", "w1"]))
    assert rejected.rows.tolist() == [0, 2, 3]
    assert set(rejected.reasons) == {Rejection.NO_TOKENS}
    assert prepared.row_owner.tolist() == [0, 1, 0]
    assert [prepared.passage.lengths[p] for p in prepared.windows.passage] == [1, 1]


def test_questions_are_cut_to_max_question_len() -> None:
    pairs = [("w1 w2 w3 w4", "w9"), ("w5", "w9"), ("w6 w7 w8", "w9")]
    prepared, _ = prepare(word_spec(), QAParameters(max_question_len=2), pairs)
    assert prepared.question.ids.tolist() == word_ids("w1 w2 w5 w6 w7")
    assert prepared.question.offsets.tolist() == [0, 2, 3, 5]
    uncut, _ = prepare(word_spec(), QAParameters(), pairs)
    assert uncut.question.lengths.tolist() == [4, 1, 3]


def test_a_cut_question_leaves_room_that_it_would_not_have_left() -> None:
    pair = (words(range(30)), "w1")
    assert prepare(word_spec(), QAParameters(max_seq_len=20), [pair])[1].rows.tolist() == [0]
    assert prepare(word_spec(), QAParameters(max_seq_len=20, max_question_len=5), [pair])[1].rows.tolist() == []


def test_a_shard_without_rows_is_fine() -> None:
    prepared, rejected = prepare(word_spec(), QAParameters(), [])
    assert (prepared.owners, len(prepared.windows), rejected.rows.tolist()) == (0, 0, [])
    prepared, rejected = prepare_texts(word_spec(), EmbeddingParameters(), strings([]))
    assert (prepared.owners, len(prepared.windows), rejected.rows.tolist()) == (0, 0, [])


@pytest.mark.parametrize(
    ("limit", "max_seq_len", "doc_stride", "expected"),
    [
        (512, None, None, WindowSize(384, 128)),
        (128, None, None, WindowSize(128, 64)),
        (512, 100, None, WindowSize(100, 50)),
        (512, 512, None, WindowSize(512, 128)),
        (512, None, 0, WindowSize(384, 0)),
        (512, 64, 60, WindowSize(64, 60)),
    ],
)
def test_defaults_of_answer_windows(
    limit: int, max_seq_len: int | None, doc_stride: int | None, expected: WindowSize
) -> None:
    qa = QAParameters(max_seq_len=max_seq_len, doc_stride=doc_stride)
    assert qa_window_size(word_spec(max_length=limit), qa) == expected


def test_defaults_of_embedding_windows() -> None:
    assert embedding_window_size(word_spec(max_length=1024), EmbeddingParameters()) == WindowSize(512, 0)
    assert embedding_window_size(word_spec(max_length=128), EmbeddingParameters()) == WindowSize(128, 0)


def test_windows_that_the_model_cannot_take_are_refused_by_key() -> None:
    spec = word_spec(max_length=128)
    with pytest.raises(ModelError, match=r"qa\.max_seq_len is 129.*at most 128"):
        qa_window_size(spec, QAParameters(max_seq_len=129))
    with pytest.raises(ModelError, match=r"embedding\.max_seq_len is 129"):
        embedding_window_size(spec, EmbeddingParameters(max_seq_len=129))


def test_an_overlap_as_long_as_the_window_is_refused_by_key() -> None:
    with pytest.raises(ModelError, match=r"qa\.doc_stride is 61.*only 61 for text"):
        qa_window_size(word_spec(), QAParameters(max_seq_len=64, doc_stride=61))
    with pytest.raises(ModelError, match=r"embedding\.doc_stride is 62"):
        embedding_window_size(word_spec(), EmbeddingParameters(max_seq_len=64, doc_stride=62))


def test_texts_and_places_are_kept_where_they_are_wanted_and_travel_along() -> None:
    spec, texts = word_spec(), strings(["w1 w22 w3", " ", "w4"])
    plain, _ = prepare_texts(spec, EmbeddingParameters(), texts)
    assert (plain.places, plain.texts) == (None, None)
    kept, _ = prepare_texts(spec, EmbeddingParameters(), texts, keep_texts=True)
    read = Tokenized.from_ipc(kept.to_ipc())
    assert read.places is not None
    assert read.places.char_start.tolist() == [0, 3, 7, 0]
    assert read.texts is not None
    assert read.texts.to_pylist() == texts.to_pylist()
    assert (read.question_places, read.question_texts) == (None, None)


def test_the_places_of_a_question_are_cut_with_it() -> None:
    spec, qa = word_spec(), QAParameters(max_question_len=2)
    pairs = strings(["w1 w2 w3", "w4"]), strings(["w5 w6", "w7"])
    plain, _ = prepare_pairs(spec, qa, *pairs)
    assert (plain.question_places, plain.question_texts) == (None, None)
    kept, _ = prepare_pairs(spec, qa, *pairs, keep_texts=True)
    assert kept.question.ids.tolist() == plain.question.ids.tolist() == word_ids("w1 w2 w4")
    read = Tokenized.from_ipc(kept.to_ipc())
    assert read.question_places is not None
    assert read.question_places.char_end.tolist() == [2, 5, 2]
    assert read.question_texts is not None
    assert read.question_texts.to_pylist() == ["w1 w2 w3", "w4"]
