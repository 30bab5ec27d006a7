"""Tokenises distinct texts into flat arrays of ids and character offsets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from tokenizers import Encoding, Tokenizer

from actors.arrays import Ints, Longs


@dataclass(frozen=True)
class Tokens:
    """Token ids of N texts, end to end.

    Text i owns tokens `offsets[i]` to `offsets[i + 1]`.
    """

    ids: Ints
    """[T] token ids."""
    offsets: Longs
    """[N + 1] where each text begins."""

    @property
    def lengths(self) -> Ints:
        """[N] tokens of every text."""
        return np.diff(self.offsets).astype(np.int32)


@dataclass(frozen=True)
class TokenPositions:
    """Where the tokens of N texts stand in their texts; every array is [T], aligned with `Tokens.ids`."""

    char_start: Ints
    """First code point of the token."""
    char_end: Ints
    """Code point after the token's last."""
    word_first: Ints
    """First token of the token's word, counted from the text's first token; -1 where it belongs to no word."""
    word_last: Ints
    """Last token of the token's word, counted likewise; -1 where it belongs to no word."""


def tokenise(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """Token ids of texts whose places do not matter (questions)."""
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return _tokens(encodings)


def tokenise_with_places(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tokens, TokenPositions]:
    """Token ids of texts, and where each token stands (passages)."""
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    tokens = _tokens(encodings)
    total = len(tokens.ids)
    pairs = chain.from_iterable(chain.from_iterable(e.offsets for e in encodings))
    spans = np.fromiter(pairs, dtype=np.int32, count=2 * total).reshape(total, 2)
    words = chain.from_iterable((-1 if w is None else w for w in e.word_ids) for e in encodings)
    first, last = _word_bounds(np.fromiter(words, dtype=np.int32, count=total), tokens.offsets)
    return tokens, TokenPositions(spans[:, 0].copy(), spans[:, 1].copy(), first, last)


def _tokens(encodings: Sequence[Encoding]) -> Tokens:
    offsets = np.zeros(len(encodings) + 1, dtype=np.int64)
    np.cumsum([len(e) for e in encodings], out=offsets[1:])
    ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), dtype=np.int32, count=int(offsets[-1]))
    return Tokens(ids, offsets)


def _word_bounds(words: Ints, offsets: Longs) -> tuple[Ints, Ints]:
    total = len(words)
    text_of = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    begins = np.ones(total, dtype=bool)
    begins[1:] = (words[1:] != words[:-1]) | (text_of[1:] != text_of[:-1])
    run_starts = np.flatnonzero(begins)
    run_stops = np.append(run_starts, total)[1:]
    run_lengths = run_stops - run_starts
    base = offsets[text_of]
    first = (np.repeat(run_starts, run_lengths) - base).astype(np.int32)
    last = (np.repeat(run_stops, run_lengths) - 1 - base).astype(np.int32)
    homeless = words < 0
    first[homeless] = -1
    last[homeless] = -1
    return first, last
