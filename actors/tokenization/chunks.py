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
    begins_text = np.zeros(len(tokens.ids), dtype=bool)
    begins_text[tokens.offsets[:-1][tokens.lengths > 0]] = True
    starts, ends, may_begin = _borders(places, bases[text_of], begins_text)
    levels: list[Callable[[], Flags]] = [
        partial(_first_tokens, divide, strings, bases, ends, may_begin) for divide in _DIVIDERS[parameters.by]
    ]
    levels.append(lambda: may_begin)
    units = _Units(begins_text | levels[0](), begins_text)
    for finer in levels[1:]:
        is_long = units.lengths > parameters.tokens
        if is_long.any():
            units = units.divided(is_long, finer())
    first, stop = units.packed(parameters.tokens, parameters.overlap)
    text = text_of[first]
    ends_text = stop == tokens.offsets[text + 1]
    start = np.where(first == tokens.offsets[text], 0, starts[first] - bases[text])
    end = np.where(ends_text, lengths[text], starts[np.where(ends_text, 0, stop)] - bases[text])
    base = tokens.offsets[text]
    chunks = (text, first - base, stop - base, *_without_blanks(strings, text, start, end))
    return TextChunks(*(values.astype(np.int32) for values in chunks))


def _borders(places: TokenPositions, bases: Longs, begins_text: Flags) -> tuple[Longs, Longs, Flags]:
    """[T] where tokens begin and end, in code points of all texts end to end and ascending; and which may begin a
    chunk: not one that shares a character with the token before, as bytes of an emoji do.
    """
    starts: Longs = np.maximum.accumulate(places.char_start + bases)
    ends: Longs = np.maximum.accumulate(places.char_end + bases)
    may_begin = begins_text.copy()
    may_begin[1:] |= starts[1:] >= ends[:-1]
    return starts, ends, may_begin


def _first_tokens(
    divide: Callable[[str], Longs], strings: list[str], bases: Longs, ends: Longs, may_begin: Flags
) -> Flags:
    """[T] the tokens that sentences or paragraphs begin with."""
    points = [divide(text) + base for text, base in zip(strings, bases, strict=True)]
    # Not by where tokens begin: with some tokenizers that is the blank before the word.
    tokens = np.searchsorted(ends, np.concatenate([np.zeros(0, dtype=np.int64), *points]), side="right")
    found = np.zeros(len(ends) + 1, dtype=bool)
    found[tokens] = True
    first: Flags = found[:-1] & may_begin
    return first


@dataclass(frozen=True)
class _Units:
    """What is not cut while it fits a chunk: sentences, say, of T tokens of all texts."""

    begins: Flags
    """[T] the first token of each unit."""
    begins_run: Flags
    """[T] the first token of each run: no chunk goes beyond one."""

    @property
    def bounds(self) -> Longs:
        """[U + 1] first token of each unit, and T."""
        return np.append(np.flatnonzero(self.begins), len(self.begins))

    @property
    def lengths(self) -> Longs:
        """[U] tokens of each unit."""
        return np.diff(self.bounds)

    def divided(self, is_long: Flags, finer: Flags) -> "_Units":
        """With the long ones divided, by a mask of units, [U], and the tokens, [T], that may begin a finer unit.

        Each becomes a run of its own, so that a chunk begins and ends where it did.
        """
        inside = np.repeat(is_long, self.lengths)
        begins_run = self.begins_run.copy()
        edges = self.bounds[np.flatnonzero(is_long)[:, None] + [0, 1]].reshape(-1)
        begins_run[edges[edges < len(begins_run)]] = True
        return _Units(self.begins | (finer & inside), begins_run)

    def packed(self, most: int, overlap: int) -> tuple[Longs, Longs]:
        """First tokens and stops of chunks, [C] each, of as many units as have at most `most` tokens; a unit of more
        is a chunk. At most the last `overlap` tokens of a chunk, in whole units, are in the next one too.
        """
        bounds = self.bounds
        begins, units = bounds[:-1], np.arange(len(bounds) - 1)
        runs = np.flatnonzero(self.begins_run[begins])
        run_stop = np.repeat(np.append(runs, len(units))[1:], np.diff(runs, append=len(units)))
        stop = np.minimum(np.searchsorted(bounds, begins + most, side="right") - 1, run_stop)
        stop = np.maximum(stop, units + 1)
        # The next chunk goes back by the overlap, but not so far that it would hold no unit that this one has not.
        beyond = bounds[np.minimum(stop + 1, len(units))]
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
