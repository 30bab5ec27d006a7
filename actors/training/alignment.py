"""Where the tokens of one tokenizer stand among those of another, by the code points of the texts that both cut."""

from dataclasses import dataclass

import numpy as np

from actors.arrays import Flags, Ints, Longs
from actors.tokenization.tokenizer import TokenPositions, Tokens


@dataclass(frozen=True)
class TokenAlignment:
    """For each of the U tokens of one tokenizer, tokens of another one, counted from the start of the text they share.

    A token at the same code points as one of the other tokenizer is aligned with that one. Any other is aligned with
    those that it overlaps, and there with the first as the start of an answer and with the last as its end: an answer
    that begins with a token begins where that token begins. A token that overlaps none, such as a blank of its own,
    starts with the next token and ends with the one before.
    """

    start: Ints
    """[U] the token in which an answer begins that begins with this one; the number of tokens where none follows."""
    end: Ints
    """[U] the token in which an answer ends that ends with this one; -1 where none is before."""
    exact: Flags
    """[U] whether there is a token at the same code points."""


def align_tokens(theirs: tuple[Tokens, TokenPositions], ours: tuple[Tokens, TokenPositions]) -> TokenAlignment:
    """Aligns the tokens of one tokenizer with those of another.

    Args:
        theirs, ours: the tokens of the same N texts, and where they stand. U of `theirs` are aligned with `ours`.
    """
    (their_tokens, their_places), (our_tokens, our_places) = theirs, ours
    reach = int(max(their_places.char_end.max(initial=0), our_places.char_end.max(initial=0))) + 1
    their_start, their_end = _keys(their_tokens, their_places, reach)
    our_start, our_end = _keys(our_tokens, our_places, reach)
    text = np.repeat(np.arange(len(their_tokens.offsets) - 1), their_tokens.lengths)
    first_of_text = our_tokens.offsets[text]
    first = np.searchsorted(our_end, their_start, side="right")
    last = np.searchsorted(our_start, their_end, side="left") - 1
    nth, of = _runs(their_start, their_end)
    exact = _equals(our_start, our_end, first, (their_start, their_end, of))
    return TokenAlignment(
        start=(np.where(exact, first + nth, first) - first_of_text).astype(np.int32),
        end=(np.where(exact, first + nth, last) - first_of_text).astype(np.int32),
        exact=exact,
    )


def _keys(tokens: Tokens, places: TokenPositions, reach: int) -> tuple[Longs, Longs]:
    """[T] where tokens begin and end, in one count for all texts, of which each takes `reach` numbers; ascending."""
    base = np.repeat(np.arange(len(tokens.offsets) - 1, dtype=np.int64) * reach, tokens.lengths)
    start: Longs = np.maximum.accumulate(base + places.char_start)
    end: Longs = np.maximum.accumulate(base + places.char_end)
    return start, end


def _runs(start: Longs, end: Longs) -> tuple[Longs, Longs]:
    """[T] the number of each token among neighbours at the same code points, from 0, and how many these are.

    Tokens of bytes have such neighbours: all that make up one character stand at its place.
    """
    begins = np.ones(len(start), dtype=bool)
    begins[1:] = (start[1:] != start[:-1]) | (end[1:] != end[:-1])
    firsts = np.flatnonzero(begins)
    lengths = np.diff(np.append(firsts, len(start)))
    return np.arange(len(start)) - np.repeat(firsts, lengths), np.repeat(lengths, lengths)


def _equals(our_start: Longs, our_end: Longs, first: Longs, theirs: tuple[Longs, Longs, Longs]) -> Flags:
    """[U] whether our tokens from `first` on are as many at the same code points as theirs."""
    their_start, their_end, their_count = theirs
    if not len(our_start):
        return np.zeros(len(first), dtype=bool)
    nth, of = _runs(our_start, our_end)
    at = np.minimum(first, len(our_start) - 1)
    same_place = (our_start[at] == their_start) & (our_end[at] == their_end)
    equal: Flags = same_place & (nth[at] == 0) & (of[at] == their_count)
    return equal
