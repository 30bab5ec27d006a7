"""Cuts a tokenised shard into pieces, each of which one replica of the service works on in one call."""

import threading

import numpy as np

from actors.arrays import Ints, Longs
from actors.tokenization.tokenized import Tokenized


class ShardPieces:
    """The owners of a shard, piece by piece; several threads may take pieces.

    Owners of similar length come together, the longest first: a replica then pads little within a piece, and runs
    passes as large as those of a whole shard.
    """

    def __init__(self, shard: Tokenized) -> None:
        """Takes the shard, of which no piece is taken yet."""
        owner, lengths = shard.windows.owner, shard.lengths(0)
        longest = np.maximum.reduceat(lengths, shard.first_windows) if shard.owners else lengths
        self._order = np.argsort(-longest, kind="stable").astype(np.int32)
        tokens = np.bincount(owner, weights=lengths, minlength=shard.owners)
        self._before: Longs = np.concatenate([[0], np.cumsum(tokens[self._order])]).astype(np.int64)
        self._next = 0
        # A shard without rows has one empty piece: its result columns come from a replica too.
        self._left = True
        self.dropped = threading.Event()
        self._lock = threading.Lock()

    def take(self, tokens: float) -> tuple[Ints, int] | None:
        """The next piece: owners of at most this many tokens, special tokens not counted, or one owner.

        Returns:
            The owners, [n], and the number of their tokens; None after the last piece.
        """
        with self._lock:
            if not self._left:
                return None
            first, owners = self._next, len(self._order)
            fits = int(np.searchsorted(self._before, self._before[first] + tokens, side="right")) - 1
            self._next = stop = min(max(fits, first + 1), owners)
            self._left = stop < owners
            return self._order[first:stop], int(self._before[stop] - self._before[first])

    def drop(self) -> None:
        """Gives up the rest of the shard: `take` returns None from now on, and `dropped` is set."""
        with self._lock:
            self._left = False
        self.dropped.set()
