"""Pools the token vectors of windows into one vector per chunk of a text that they hold (late chunking).

Late chunking as in Günther et al., "Late Chunking: Contextual Chunk Embeddings Using Long-Context Embedding Models"
(https://arxiv.org/abs/2409.04701): the model reads the whole text, and only then its token vectors are divided.
"""

import numpy as np

from actors.arrays import Floats, Longs, segments
from actors.batch import Batch
from actors.engine.decoding.owned_tokens import OwnedTokens
from actors.engine.decoding.pooling import finished
from actors.parameters import EmbeddingParameters
from actors.tokenization.tokenized import Tokenized, TokenRanges


class ChunkVectors:
    """Collects the sums of token vectors of windows, and means them by chunk.

    A chunk's vector is the plain mean over its own tokens; special tokens are no chunk's. A token that several windows
    hold is taken from one of them (`OwnedTokens`), and not as the mean of all: windows overlap so that every token is
    read with context on both sides, and the vector at the edge of a window is the one that has none.
    """

    def __init__(
        self, prepared: Tokenized, chunks: TokenRanges, hidden_size: int, embedding: EmbeddingParameters
    ) -> None:
        """Makes room for a sum of each chunk's tokens in each window.

        Args:
            chunks: of `prepared`, C of them.
            hidden_size: D of the model.
            embedding: how long vectors are, and how many of their numbers are kept.
        """
        self._embedding = embedding
        self._lengths = chunks.stop - chunks.first
        windows = prepared.windows
        base = _owner_bases(prepared)
        owned = OwnedTokens.of(windows, prepared.owners)
        first, stop = (base[windows.owner] + bound for bound in (owned.first, owned.stop))
        chunk_first, chunk_stop = (base[chunks.owner] + bound for bound in (chunks.first, chunks.stop))
        begin = np.searchsorted(chunk_stop, first, side="right")
        self._per_window: Longs = np.searchsorted(chunk_first, stop, side="left") - begin
        self._begin: Longs = np.cumsum(self._per_window) - self._per_window
        window = np.repeat(np.arange(len(windows)), self._per_window)
        self._chunk: Longs = segments(begin, self._per_window)
        """[Q] the chunk of each pair of a window and a chunk that it holds tokens of, window after window."""
        origin = base[windows.owner] + windows.first
        self._first: Longs = np.maximum(first[window], chunk_first[self._chunk]) - origin[window]
        """[Q] the pair's first token, counted from the window's first passage token."""
        self._stop: Longs = np.minimum(stop[window], chunk_stop[self._chunk]) - origin[window]
        self._sums = np.zeros((len(window), hidden_size), dtype=np.float32)

    def keep(self, chosen: Longs, batch: Batch, hidden: Floats) -> Floats:
        """Takes the last hidden states, [n, S, D], of the windows at the positions `chosen`, [n].

        Returns:
            [q, D] the sums that were made of them.
        """
        pairs = segments(self._begin[chosen], self._per_window[chosen])
        origin = np.repeat(np.arange(batch.windows) * hidden.shape[1] + batch.passage_start, self._per_window[chosen])
        first, stop = origin + self._first[pairs], origin + self._stop[pairs]
        states = hidden.reshape(-1, hidden.shape[2])
        # Every other sum is of what lies between two pairs.
        bounds = np.stack([first, np.minimum(stop, len(states) - 1)], axis=1).reshape(-1)
        sums: Floats = np.add.reduceat(states, bounds, axis=0)[::2].astype(np.float32, copy=False)
        # Where no special token ends a window, pairs may end where the states do, which is no bound for `reduceat`.
        for pair in np.flatnonzero(stop == len(states)):
            sums[pair] = states[first[pair] :].sum(axis=0)
        self._sums[pairs] = sums
        return sums

    def join(self) -> Floats:
        """[C, D] float32, or as many numbers as are kept of D, once every window has had its pass."""
        order = np.argsort(self._chunk, kind="stable")
        begins = np.searchsorted(self._chunk[order], np.arange(len(self._lengths)))
        if not len(begins):
            return finished(np.zeros((0, self._sums.shape[1]), dtype=np.float32), False, self._embedding.dimensions)
        means = np.add.reduceat(self._sums[order], begins, axis=0) / self._lengths[:, None]
        return finished(means, self._embedding.normalize, self._embedding.dimensions)


def _owner_bases(prepared: Tokenized) -> Longs:
    """[owners] where the tokens of each owner's passage would begin if they stood end to end, owner after owner."""
    windows = prepared.windows
    lengths = prepared.passage.lengths[windows.passage[windows.first == 0]].astype(np.int64)
    bases: Longs = np.cumsum(lengths) - lengths
    return bases
