"""Texts as flat arrays of tokens, with their places."""

import numpy as np
import pytest

from actors.tokenization.tokenizer import tokenise, tokenise_with_places
from tests.actors.conftest import Loaded
from tests.actors.helpers import MODELS, word_ids, word_tokenizer

TEXTS = ["w1 w2  w3", "", "w4", " ", "w5 w6"]
UNICODE = ["Zoë's 3rd “café” – naïve?", "日本語 😀😀 x", "", "don't  stop\tİstanbul", "ΣΑΣ", "naïve", "x"]


def test_ids_lie_end_to_end() -> None:
    tokens = tokenise(word_tokenizer(), TEXTS)
    assert tokens.ids.tolist() == word_ids("w1 w2 w3 w4 w5 w6")
    assert tokens.offsets.tolist() == [0, 3, 3, 4, 4, 6]
    assert tokens.lengths.tolist() == [3, 0, 1, 0, 2]


def test_no_texts_give_no_tokens() -> None:
    tokens, places = tokenise_with_places(word_tokenizer(), [])
    assert (tokens.ids.tolist(), tokens.offsets.tolist()) == ([], [0])
    assert [len(a) for a in (places.char_start, places.char_end, places.word_first, places.word_last)] == [0, 0, 0, 0]
    assert tokenise(word_tokenizer(), []).offsets.tolist() == [0]


def test_places_are_code_points_and_words_are_counted_from_the_text() -> None:
    tokens, places = tokenise_with_places(word_tokenizer(), ["é😀 w1", "w2"])
    assert tokens.offsets.tolist() == [0, 2, 3]
    assert places.char_start.tolist() == [0, 3, 0]
    assert places.char_end.tolist() == [2, 5, 2]
    assert places.word_first.tolist() == [0, 1, 0]
    assert places.word_last.tolist() == [0, 1, 0]


@pytest.mark.parametrize("model", MODELS)
def test_places_agree_with_the_tokenizer_asked_text_by_text(models: dict[str, Loaded], model: str) -> None:
    tokenizer = models[model].spec.tokenizer()
    tokens, places = tokenise_with_places(tokenizer, UNICODE)
    for i, text in enumerate(UNICODE):
        part = slice(int(tokens.offsets[i]), int(tokens.offsets[i + 1]))
        alone = tokenizer.encode(text, add_special_tokens=False)
        assert tokens.ids[part].tolist() == alone.ids
        assert list(zip(places.char_start[part], places.char_end[part], strict=True)) == alone.offsets
        words = alone.word_ids
        assert places.word_first[part].tolist() == [words.index(word) for word in words]
        last = [len(words) - 1 - words[::-1].index(word) for word in words]
        assert places.word_last[part].tolist() == last


@pytest.mark.parametrize("model", MODELS)
def test_questions_and_passages_have_the_same_ids(models: dict[str, Loaded], model: str) -> None:
    tokenizer = models[model].spec.tokenizer()
    assert np.array_equal(tokenise(tokenizer, UNICODE).ids, tokenise_with_places(tokenizer, UNICODE)[0].ids)
