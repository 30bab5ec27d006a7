"""Pools the token vectors of windows into one embedding per text."""

from dataclasses import dataclass

import numpy as np

from actors.arrays import Floats, Longs, segments
from actors.batch import Batch
from actors.parameters import EmbeddingParameters
from actors.tokenization.tokenized import Tokenized


@dataclass(frozen=True)
class Pooling:
    """How much every token of every window weighs in its owner's vector.

    An embedding is the weighted mean of token vectors. A token that k windows hold weighs 1/k in each, so
    that overlap counts nothing twice. A text of one window gets the plain mean over its tokens, special
    tokens included, which is what sentence-transformers' mean pooling computes; beside answers, only the
    passage's own tokens count.
    """

    token_weight: Floats | None
    """[T] weights of the owners' passage tokens, owner after owner; None for CLS pooling."""
    token_base: Longs
    """[W] where in `token_weight` the passage of each window's owner begins."""
    special_weight: Floats
    """[W] weight of each special token (mean) or of the CLS token (cls) in a window; 0 leaves them out."""

    @classmethod
    def plan(cls, prepared: Tokenized, embedding: EmbeddingParameters, beside_answers: bool) -> "Pooling":
        """Weights for all windows of a shard."""
        windows = prepared.windows
        per_owner = np.bincount(windows.owner, minlength=prepared.owners)
        share = (1.0 / per_owner[windows.owner]).astype(np.float32)
        if embedding.pooling == "cls":
            return cls(None, np.zeros(len(windows), dtype=np.int64), share)
        is_first = windows.first == 0
        owner_lengths = prepared.passage.lengths[windows.passage[is_first]].astype(np.int64)
        owner_base = np.cumsum(owner_lengths) - owner_lengths
        base = owner_base[windows.owner]
        coverage = np.zeros(int(owner_lengths.sum()) + 1, dtype=np.int32)
        np.add.at(coverage, base + windows.first, 1)
        np.add.at(coverage, base + windows.stop, -1)
        # No window holds the end of a text that was cut.
        weight = (1.0 / np.maximum(np.cumsum(coverage)[:-1], 1)).astype(np.float32)
        return cls(weight, base, np.zeros_like(share) if beside_answers else share)

    def weights(self, prepared: Tokenized, chosen: Longs, batch: Batch) -> Floats:
        """[n, S] weights of one batch: that of the windows at the positions `chosen`."""
        if self.token_weight is None:
            return self._cls_weights(chosen, batch)
        real = np.arange(batch.width) < batch.lengths[:, None]
        weights = np.where(real, self.special_weight[chosen][:, None], np.float32(0))
        rows = np.arange(batch.windows, dtype=np.int64) * batch.width
        target = segments(rows + batch.passage_start, batch.passage_length)
        source = segments(self.token_base[chosen] + prepared.windows.first[chosen], batch.passage_length)
        weights.reshape(-1)[target] = self.token_weight[source]
        return weights

    def _cls_weights(self, chosen: Longs, batch: Batch) -> Floats:
        weights = np.zeros((batch.windows, batch.width), dtype=np.float32)
        first = np.zeros(batch.windows, dtype=np.int64) if batch.cls is None else batch.cls
        weights[np.arange(batch.windows), first] = self.special_weight[chosen]
        return weights


def embed_owners(
    prepared: Tokenized, sums: Floats, weights: Floats, normalize: bool, dimensions: int | None = None
) -> Floats:
    """Joins the windows of each owner.

    Args:
        sums: [W, D] weighted sums of token vectors.
        weights: [W] what the weights of each window add up to.
        normalize: scale every vector to length 1.

    Returns:
        [owners, D] float32
    """
    owner = prepared.windows.owner
    begins = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]]) if len(owner) else np.zeros(0, dtype=np.int64)
    vectors = np.add.reduceat(sums, begins, axis=0) / np.add.reduceat(weights, begins)[:, None]
    vectors = vectors[:, :dimensions]
    if normalize:
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    joined: Floats = vectors.astype(np.float32, copy=False)
    return joined
