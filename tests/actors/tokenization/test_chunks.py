"""How tokenised texts are cut into chunks."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE, WordLevel

from actors.parameters import ChunkParameters
from actors.tokenization.chunks import TextChunks, cut_chunks
from actors.tokenization.tokenizer import tokenise_with_places
from tests.actors.helpers import strings, word_tokenizer, words


def _bytes_tokenizer() -> Tokenizer:
    """A token for each byte of UTF-8, so that one character has several."""
    vocab = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def _cut(texts: list[str], tokenizer: Tokenizer | None = None, **keys: Any) -> TextChunks:
    tokens, places = tokenise_with_places(tokenizer or word_tokenizer(), texts)
    return cut_chunks(ChunkParameters(**keys), strings(texts), tokens, places)


def _texts(text: str, tokenizer: Tokenizer | None = None, **keys: Any) -> list[str]:
    chunks = _cut([text], tokenizer, **keys)
    return [text[a:b] for a, b in zip(chunks.start, chunks.end, strict=True)]


def test_tokens_are_cut_in_runs_that_overlap() -> None:
    text = words(range(8))
    assert _texts(text, by="tokens", tokens=3) == ["w0 w1 w2", "w3 w4 w5", "w6 w7"]
    assert _texts(text, by="tokens", tokens=4, overlap=1) == ["w0 w1 w2 w3", "w3 w4 w5 w6", "w6 w7"]
    assert _texts(text, by="tokens", tokens=8) == [text]


def test_as_many_whole_sentences_are_taken_as_fit() -> None:
    text = "a bb. A c dd. Ee. F g hh."
    assert _texts(text, tokens=5) == ["a bb. A c dd.", "Ee. F g hh."]
    assert _texts(text, tokens=4) == ["a bb.", "A c dd. Ee.", "F g hh."]


def test_overlap_is_of_whole_sentences_and_never_in_the_way_of_the_next() -> None:
    text = "a bb. Cc. Dd. E f gg. H ii. Jj."
    assert _texts(text, tokens=5, overlap=2) == ["a bb. Cc. Dd.", "Cc. Dd. E f gg.", "H ii. Jj."]
    assert _texts(text, tokens=5, overlap=1) == ["a bb. Cc. Dd.", "Dd. E f gg.", "H ii. Jj."]
    assert _texts(text, tokens=4, overlap=3) == ["a bb. Cc. Dd.", "Dd. E f gg.", "H ii. Jj."]
    assert _texts(text, tokens=5) == ["a bb. Cc. Dd.", "E f gg. H ii.", "Jj."]


def test_a_sentence_that_is_too_long_is_cut_between_tokens_and_shares_no_chunk() -> None:
    text = "a bb. A c d e f g hh. I jj."
    assert _texts(text, tokens=3) == ["a bb.", "A c d", "e f g", "hh.", "I jj."]


def test_a_paragraph_that_is_too_long_is_cut_into_sentences() -> None:
    text = "a bb. Cc.\n\nD ee. F g hh. I j k l m nn.\n\nOo."
    assert _texts(text, by="paragraph", tokens=6) == ["a bb. Cc.", "D ee. F g hh.", "I j k l m nn.", "Oo."]
    assert _texts(text, by="paragraph", tokens=4) == ["a bb. Cc.", "D ee.", "F g hh.", "I j k l", "m nn.", "Oo."]
    assert _texts(text, by="paragraph", tokens=99) == [text]


def test_texts_are_cut_each_for_itself_and_those_without_tokens_not_at_all() -> None:
    chunks = _cut(["", words(range(3)), "  ", words(range(5))], by="tokens", tokens=2, overlap=1)
    assert chunks.text.tolist() == [1, 1, 3, 3, 3, 3]
    assert chunks.first.tolist() == [0, 1, 0, 1, 2, 3]
    assert chunks.stop.tolist() == [2, 3, 2, 3, 4, 5]
    assert len(_cut([], tokens=3)) == len(_cut([""], tokens=3)) == 0


def test_a_character_of_several_tokens_is_not_cut() -> None:
    # An emoji is four tokens here, so that no chunk of three can hold one; a chunk holds it whole all the same.
    assert _texts("ab😀c😀", _bytes_tokenizer(), by="tokens", tokens=3) == ["ab", "😀", "c", "😀"]
    assert _texts("ab😀c😀", _bytes_tokenizer(), by="tokens", tokens=6) == ["ab😀", "c😀"]


def test_a_token_that_begins_with_its_blank_is_of_the_sentence_of_its_word() -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    text = "a bb. Cc dd. Ee ff gg."
    assert tokenizer.encode(text).offsets[2] == (5, 8)
    assert _texts(text, tokenizer, tokens=4) == ["a bb. Cc dd.", "Ee ff gg."]
    assert _texts(text, tokenizer, tokens=3) == ["a bb.", "Cc dd.", "Ee ff gg."]


def test_white_space_alone_is_a_chunk_where_it_has_tokens() -> None:
    assert _texts("a  \n  ", _bytes_tokenizer(), by="tokens", tokens=3) == ["a", "\n  "[:3]]


_TEXTS = st.text(alphabet="aB. \n。😀é", max_size=40)


@given(
    st.lists(_TEXTS, max_size=4),
    st.sampled_from(["sentence", "paragraph", "tokens"]),
    st.integers(1, 9),
    st.integers(0, 8),
    st.booleans(),
)
def test_chunks_hold_every_token_and_every_character_but_white_space(
    texts: list[str], by: str, tokens: int, overlap: int, is_of_bytes: bool
) -> None:
    tokenizer = _bytes_tokenizer() if is_of_bytes else word_tokenizer()
    keys = {"by": by, "tokens": tokens, "overlap": min(overlap, tokens - 1)}
    chunks = _cut(texts, tokenizer, **keys)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    longest = 4 if is_of_bytes else 1
    for number, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        own = chunks.only(chunks.text == number)
        assert bool(len(own)) == bool(length)
        covered = np.zeros(length, dtype=int)
        seen = np.zeros(len(text), dtype=bool)
        for first, stop, start, end in zip(own.first, own.stop, own.start, own.end, strict=True):
            covered[first:stop] += 1
            seen[start:end] = True
            assert 0 < stop - first <= max(tokens, longest)
            assert text[start:end] == text[start:end].strip() or text[start:end].isspace()
        assert covered.all()
        assert length == 0 or not "".join(c for c, is_seen in zip(text, seen, strict=True) if not is_seen).strip()
        bounds = list(zip(own.first.tolist(), own.stop.tolist(), strict=True))
        for (first, stop), (next_first, next_stop) in pairwise(bounds):
            assert first < next_first <= stop < next_stop
            assert stop - next_first <= keys["overlap"]


@pytest.mark.parametrize("overlap", [3, 4])
def test_an_overlap_has_to_be_shorter_than_a_chunk(overlap: int) -> None:
    with pytest.raises(ValueError, match=r"overlap \(\d\) has to be less than tokens \(3\)"):
        ChunkParameters(tokens=3, overlap=overlap)
