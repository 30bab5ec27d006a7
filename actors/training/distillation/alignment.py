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
    twin, exact = _same_places((their_start, their_end), (our_start, our_end))
    return TokenAlignment(
        start=(np.where(exact, twin, first) - first_of_text).astype(np.int32),
        end=(np.where(exact, twin, last) - first_of_text).astype(np.int32),
        exact=exact,
    )


def _keys(tokens: Tokens, places: TokenPositions, reach: int) -> tuple[Longs, Longs]:
    """[T] where tokens begin and end, in one count for all texts, of which each takes `reach` numbers; ascending."""
    base = np.repeat(np.arange(len(tokens.offsets) - 1, dtype=np.int64) * reach, tokens.lengths)
    start: Longs = np.maximum.accumulate(base + places.char_start)
    end: Longs = np.maximum.accumulate(base + places.char_end)
    return start, end


def _same_places(theirs: tuple[Longs, Longs], ours: tuple[Longs, Longs]) -> tuple[Longs, Flags]:
    """[U] which of our tokens stands at the same code points, and whether one does.

    Tokens of bytes may share a place, that of the character which they make up. They count only where ours are as many.
    """
    longest = 1 + max(int((end - start).max(initial=0)) for start, end in (theirs, ours))
    # In ascending order, since tokens that begin together are in the order of their ends.
    their_place, our_place = (start * longest + (end - start) for start, end in (theirs, ours))
    first = np.searchsorted(our_place, their_place, side="left")
    count = np.searchsorted(our_place, their_place, side="right") - first
    begins = np.searchsorted(their_place, their_place, side="left")
    their_count = np.searchsorted(their_place, their_place, side="right") - begins
    exact: Flags = count == their_count
    return first + np.arange(len(begins)) - begins, exact
