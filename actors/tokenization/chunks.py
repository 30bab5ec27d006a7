"""Cuts tokenised texts into chunks: whole sentences or paragraphs, as many as fit, or runs of tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from actors.arrays import Flags, Ints, Longs
from actors.parameters import ChunkParameters
from actors.tokenization.sentences import paragraph_starts, sentence_starts
from actors.tokenization.tokenizer import TokenPositions, Tokens

_DIVIDERS: dict[str, tuple[Callable[[str], Longs], ...]] = {
    "paragraph": (paragraph_starts, sentence_starts),
    "sentence": (sentence_starts,),
    "tokens": (),
}
"""What a text is cut into, the coarsest first; tokens come last in each."""


@dataclass(frozen=True)
class TextChunks:
    """C chunks of N texts, text after text and in reading order.

    The chunks of a text hold all of its tokens. Between the places where they stand there is only white space, and
    where they overlap there is none.
    """

    text: Ints
    """[C] which text."""
    first: Ints
    """[C] first token, counted from the text's start."""
    stop: Ints
    """[C] token after the last."""
    start: Ints
    """[C] first code point."""
    end: Ints
    """[C] code point after the last."""

    def __len__(self) -> int:
        return len(self.text)

    def only(self, kept: Flags) -> "TextChunks":
        """Some of them, by a mask, [C]."""
        return TextChunks(self.text[kept], self.first[kept], self.stop[kept], self.start[kept], self.end[kept])


def cut_chunks(
    parameters: ChunkParameters, texts: pa.StringArray, tokens: Tokens, places: TokenPositions
) -> TextChunks:
    """The chunks of texts; a text without tokens has none.

    Args:
        texts: [N] strings without nulls.
        tokens, places: of these texts.
    """
    strings: list[str] = texts.to_pylist()
    text_of = np.repeat(np.arange(len(strings)), tokens.lengths)
    lengths = np.array([len(string) for string in strings], dtype=np.int64)
    bases = np.cumsum(lengths) - lengths
    own_first = tokens.offsets[:-1][tokens.lengths > 0]
    starts, may_begin = _borders(places, bases[text_of], own_first)
    levels: list[Callable[[], Longs]] = [
        partial(_first_tokens, divide, strings, bases, starts, may_begin) for divide in _DIVIDERS[parameters.by]
    ]
    levels.append(lambda: np.flatnonzero(may_begin))
    # Where the units begin that are not cut while they fit, among all tokens, and the runs that no chunk goes beyond.
    begins, runs = np.union1d(own_first, levels[0]()), own_first
    for finer in levels[1:]:
        is_long = np.diff(begins, append=len(tokens.ids)) > parameters.tokens
        if is_long.any():
            begins, runs = _with_long_divided(begins, runs, is_long, finer(), len(tokens.ids))
    first, stop = _packed(begins, runs, len(tokens.ids), parameters.tokens, parameters.overlap)
    text = text_of[first]
    ends_text = stop == tokens.offsets[text + 1]
    start = np.where(first == tokens.offsets[text], 0, places.char_start[first])
    end = np.where(ends_text, lengths[text], places.char_start[np.where(ends_text, 0, stop)])
    base = tokens.offsets[text]
    chunks = (text, first - base, stop - base, *_without_blanks(strings, text, start, end))
    return TextChunks(*(values.astype(np.int32) for values in chunks))


def _borders(places: TokenPositions, bases: Longs, own_first: Longs) -> tuple[Longs, Flags]:
    """[T] where tokens begin, in code points of all texts end to end and ascending; and which of them may begin a
    chunk: not one that shares a character with the token before, as bytes of an emoji do.
    """
    starts = places.char_start + bases
    reached = np.maximum.accumulate(places.char_end + bases) if len(starts) else starts
    may_begin = np.ones(len(starts), dtype=bool)
    may_begin[1:] = starts[1:] >= reached[:-1]
    may_begin[own_first] = True
    return np.maximum.accumulate(starts) if len(starts) else starts, may_begin


def _first_tokens(
    divide: Callable[[str], Longs], strings: list[str], bases: Longs, starts: Longs, may_begin: Flags
) -> Longs:
    """The tokens, counted over all texts, that sentences or paragraphs begin with."""
    points = np.concatenate(
        [np.zeros(0, dtype=np.int64), *(divide(text) + base for text, base in zip(strings, bases, strict=True))]
    )
    tokens = np.unique(np.searchsorted(starts, points))
    tokens = tokens[tokens < len(starts)]
    return tokens[may_begin[tokens]]


def _with_long_divided(begins: Longs, runs: Longs, is_long: Flags, finer: Longs, total: int) -> tuple[Longs, Longs]:
    """Units of which the long ones are divided, each a run of its own: a chunk begins with it, and one ends with it."""
    long_ones = np.append(begins, total)[np.flatnonzero(is_long)[:, None] + [0, 1]].reshape(-1)
    inside = finer[is_long[np.searchsorted(begins, finer, side="right") - 1]]
    runs = np.union1d(runs, long_ones)
    return np.union1d(begins, inside), runs[runs < total]


def _packed(begins: Longs, runs: Longs, total: int, most: int, overlap: int) -> tuple[Longs, Longs]:
    """First tokens and stops of chunks, [C] each, of as many units as fit.

    Args:
        begins: [U] where units begin; those with more than `most` tokens are chunks of their own.
        runs: where the runs begin that no chunk goes beyond, some of `begins`.
        total: tokens of all units.
    """
    units = np.arange(len(begins))
    bounds = np.append(begins, total)
    run_stop = np.append(np.searchsorted(begins, runs)[1:], len(begins))
    run_stop = run_stop[np.searchsorted(runs, begins, side="right") - 1]
    stop = np.minimum(np.searchsorted(bounds, begins + most, side="right") - 1, run_stop)
    stop = np.maximum(stop, units + 1)
    # The next chunk goes back by the overlap, but not so far that it would hold no unit that this one has not.
    beyond = bounds[np.minimum(stop + 1, len(begins))]
    back = np.searchsorted(bounds, np.maximum(bounds[stop] - overlap, beyond - most))
    following = np.where(stop == run_stop, stop, np.clip(back, units + 1, stop))
    # Where a chunk begins depends on the one before, so these are found one by one.
    steps, chosen, unit = following.tolist(), list[int](), 0
    while unit < len(steps):
        chosen.append(unit)
        unit = steps[unit]
    found = np.array(chosen, dtype=np.int64)
    return begins[found], bounds[stop[found]]


def _without_blanks(strings: list[str], text: Longs, start: Longs, end: Longs) -> tuple[Longs, Longs]:
    """Places without the white space at their ends; those of nothing else stay."""
    slices = [strings[t][a:b] for t, a, b in zip(text.tolist(), start.tolist(), end.tolist(), strict=True)]
    left = np.array([len(piece) - len(piece.lstrip()) for piece in slices], dtype=np.int64)
    right = np.array([len(piece) - len(piece.rstrip()) for piece in slices], dtype=np.int64)
    is_blank = left == end - start
    return np.where(is_blank, start, start + left), np.where(is_blank, end, end - right)
