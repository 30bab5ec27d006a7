"""Cuts a tokenised shard into pieces, each of which one replica of the service works on in one call."""

import threading

import numpy as np

from actors.arrays import Ints, Longs
from actors.tokenization.tokenized import Tokenized


class ShardChunks:
    """The owners of a shard, cut piece by piece; several threads may take.

    Owners of like length come together, the longest first: a replica pads little within a piece, and gives it passes
    as large as those of a whole shard.
    """

    def __init__(self, shard: Tokenized) -> None:
        """Nothing is cut yet."""
        owner, lengths = shard.windows.owner, shard.lengths(0)
        begin = np.searchsorted(owner, np.arange(shard.owners))
        longest = np.maximum.reduceat(lengths, begin) if shard.owners else lengths
        self._order = np.argsort(-longest, kind="stable").astype(np.int32)
        tokens = np.bincount(owner, weights=lengths, minlength=shard.owners)
        self._before: Longs = np.concatenate([[0], np.cumsum(tokens[self._order])]).astype(np.int64)
        self._next = 0
        # A shard without rows has a piece too: its columns have to come from somewhere.
        self._left = True
        self.dropped = threading.Event()
        self._lock = threading.Lock()

    def take(self, tokens: float) -> tuple[Ints, int] | None:
        """The next owners, of at most so many tokens, special ones left out, or one owner; None after the last.

        Returns:
            The owners, and their tokens.
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
        """Leaves the rest: nobody wants it any more."""
        with self._lock:
            self._left = False
        self.dropped.set()
