"""The column hidden: the pooled vector of every layer."""

import numpy as np

from actors.arrays import Floats, Longs
from actors.batch import Batch
from actors.engine.decoding.pooling import Pooling
from actors.engine.decoding.rows import checked
from actors.parameters import EmbeddingParameters
from actors.tokenization.tokenized import Tokenized


class LayerVectors:
    """Collects weighted sums of the hidden states of windows, in every layer."""

    def __init__(
        self, prepared: Tokenized, embedding: EmbeddingParameters, size: tuple[int, int], beside_answers: bool
    ) -> None:
        """Takes how tokens are pooled.

        Args:
            size: L + 1 and D of the model.
            beside_answers: whether windows hold a question too, whose tokens do not count.
        """
        self._prepared = prepared
        self._pooling = Pooling.plan(prepared, embedding, beside_answers)
        self._weights = np.zeros(len(prepared.windows), dtype=np.float32)
        self._sums = np.zeros((len(prepared.windows), *size), dtype=np.float32)

    def weigh(self, chosen: Longs, batch: Batch) -> Floats:
        """[n, S] weights of the tokens of these windows."""
        weights = self._pooling.weights(self._prepared, chosen, batch)
        self._weights[chosen] = weights.sum(axis=1)
        return weights

    def keep(self, chosen: Longs, sums: Floats) -> None:
        """Takes the sums of a pass, [n, L + 1, D].

        Raises:
            NotANumber: the model computes NaN.
        """
        self._sums[chosen] = checked(sums)

    def vectors(self) -> Floats:
        """[R, L + 1, D] means; not scaled to any length."""
        begins = np.searchsorted(self._prepared.windows.owner, np.arange(self._prepared.owners))
        means = np.add.reduceat(self._sums, begins, axis=0)
        means /= np.add.reduceat(self._weights, begins)[:, None, None]
        of_rows: Floats = means[self._prepared.row_owner]
        return of_rows
