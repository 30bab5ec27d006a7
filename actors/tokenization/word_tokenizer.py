"""Tokenises each distinct word of many texts once, for tokenizers that treat the words of a text one by one.

Texts share most of their words, so this costs a fraction of tokenising them whole, and gives the same tokens.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from actors.arrays import Longs, segments
from actors.tokenization.tokenizer import TokenPositions, Tokens, tokenise_with_places

_BLANK = ord(" ")
_BLOCK_WORDS = 256
"""Distinct words that the tokenizer gets as one text: it costs more to begin a text than to go on with one."""

_LOCAL_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"}
"""None of them looks across a blank: a blank is no letter's base, and is not moved."""
_BLANK_SPLITTERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
_LOCAL_SPLITTERS = _BLANK_SPLITTERS | {"Digits", "Punctuation"}


def takes_words_alone(tokenizer_json: str) -> bool:
    """Whether the tokens of a text are those of its blank-separated words, one after another.

    True only for what is known to work so, such as BERT's and DistilBERT's; byte-level and sentencepiece
    tokenizers put the blank into the token.
    """
    parts: Mapping[str, Any] = json.loads(tokenizer_json)
    normalizers, splitters = _types(parts["normalizer"], "normalizers"), _types(parts["pre_tokenizer"], "pretokenizers")
    return (
        _LOCAL_NORMALIZERS.issuperset(normalizers)
        and splitters[:1] != []
        and splitters[0] in _BLANK_SPLITTERS
        and _LOCAL_SPLITTERS.issuperset(splitters)
        and not any(
            token["lstrip"] or token["rstrip"] or token["content"].split() != [token["content"]]
            for token in parts["added_tokens"]
        )
    )


def tokenise_by_words(tokenizer: Tokenizer, texts: pa.StringArray) -> tuple[Tokens, TokenPositions]:
    """What `tokens.tokenise_with_places` gives, for a tokenizer that takes words alone.

    Args:
        texts: [N] strings without nulls.
    """
    occurrences = _Occurrences.of(texts)
    words = _Words.of(tokenizer, occurrences.distinct)
    code = occurrences.code
    counts = words.tokens.lengths[code].astype(np.int64)
    source = segments(words.tokens.offsets[code], counts)
    stops = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    offsets = stops[occurrences.first_word]
    places = words.places
    char = np.repeat(occurrences.char_start, counts)
    # Where each word begins in its text, counted in tokens.
    token = np.repeat(stops[:-1] - np.repeat(offsets[:-1], np.diff(occurrences.first_word)), counts)
    homeless = places.word_first[source] < 0
    return Tokens(words.tokens.ids[source], offsets), TokenPositions(
        char_start=(places.char_start[source] + char).astype(np.int32),
        char_end=(places.char_end[source] + char).astype(np.int32),
        word_first=np.where(homeless, -1, places.word_first[source] + token).astype(np.int32),
        word_last=np.where(homeless, -1, places.word_last[source] + token).astype(np.int32),
    )


@dataclass(frozen=True)
class _Occurrences:
    """Every word of the texts, end to end; each ends with its blank, which a text's last word is given."""

    distinct: pa.LargeStringArray
    code: Longs
    """[O] which distinct word."""
    char_start: Longs
    """[O] first code point, counted in its text."""
    first_word: Longs
    """[N + 1] where each text's words begin."""

    @classmethod
    def of(cls, texts: pa.StringArray) -> "_Occurrences":
        nothing, blank = (pa.scalar(text, pa.large_string()) for text in ("", " "))
        ended = pc.binary_join_element_wise(texts.cast(pa.large_string()), nothing, blank)
        data, offsets = _buffers(ended)
        cuts = np.flatnonzero(data == _BLANK).astype(np.int64) + 1
        bounds = np.concatenate([np.zeros(1, dtype=np.int64), cuts])
        words = pa.LargeStringArray.from_buffers(len(cuts), pa.py_buffer(bounds), pa.py_buffer(data))
        encoded = words.dictionary_encode()
        first_word = np.searchsorted(bounds, offsets)
        chars = _code_points(data, bounds)
        text_start = np.repeat(chars[first_word[:-1]], np.diff(first_word))
        code = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(encoded.dictionary, code, chars[:-1] - text_start, first_word)


@dataclass(frozen=True)
class _Words:
    """Distinct words as texts of their own: code points and tokens of a word are counted from its start."""

    tokens: Tokens
    places: TokenPositions

    @classmethod
    def of(cls, tokenizer: Tokenizer, words: pa.LargeStringArray) -> "_Words":
        data, bounds = _buffers(words)
        edges = np.append(np.arange(0, len(words), _BLOCK_WORDS), len(words))
        raw = data.tobytes()
        blocks = [raw[a:b].decode() for a, b in zip(bounds[edges[:-1]], bounds[edges[1:]], strict=True)]
        tokens, places = tokenise_with_places(tokenizer, blocks)
        chars = _code_points(data, bounds)
        block_tokens = tokens.lengths
        start = places.char_start + np.repeat(chars[edges[:-1]], block_tokens)
        word = np.searchsorted(chars, start, side="right") - 1
        offsets = np.searchsorted(word, np.arange(len(words) + 1))
        char_base = chars[word] - np.repeat(chars[edges[:-1]], block_tokens)
        token_base = offsets[word] - np.repeat(tokens.offsets[:-1], block_tokens)
        homeless = places.word_first < 0
        return cls(
            Tokens(tokens.ids, offsets),
            TokenPositions(
                char_start=(places.char_start - char_base).astype(np.int32),
                char_end=(places.char_end - char_base).astype(np.int32),
                word_first=np.where(homeless, -1, places.word_first - token_base).astype(np.int32),
                word_last=np.where(homeless, -1, places.word_last - token_base).astype(np.int32),
            ),
        )


def _buffers(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint8], Longs]:
    """Bytes and bounds of texts that begin at their buffer's start."""
    bounds = np.frombuffer(texts.buffers()[1], dtype=np.int64)[: len(texts) + 1]
    return np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)[: int(bounds[-1])], bounds


def _code_points(data: npt.NDArray[np.uint8], bounds: Longs) -> Longs:
    """Code points before each of these bytes."""
    leads = (data & 0xC0) != 0x80
    if leads.all():
        return bounds
    before = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(leads)])
    return before[bounds]


def _types(part: Mapping[str, Any] | None, children: str) -> list[str]:
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [name for child in part[children] for name in _types(child, children)]
    return [str(part["type"])]
