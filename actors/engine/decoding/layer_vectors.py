"""The column hidden: the pooled vector of every layer."""

import numpy as np
import pyarrow as pa

from actors.arrays import Floats, Longs
from actors.batch import Batch
from actors.engine.decoding.pooling import Pooling, embed_owners, without_question
from actors.engine.decoding.rows import checked
from actors.errors import ModelError
from actors.tokenization.tokenized import Tokenized

POOLINGS = (
    "the column hidden is pooled as embedding.pooling and embedding.of say, and takes one text and one pooling of "
    "mean, cls and last; name one, or leave hidden out"
)


class LayerVectors:
    """Collects weighted sums of the hidden states of windows, in every layer."""

    def __init__(self, prepared: Tokenized, pooling: Pooling, size: tuple[int, int]) -> None:
        """Takes how tokens are pooled.

        Args:
            pooling: one weighted mean.
            size: L + 1 and D of the model.

        Raises:
            ModelError: it is another one, or there are several.
        """
        if len(pooling.weighings) != 1 or pooling.max_runs:
            raise ModelError(POOLINGS)
        self._prepared, self._pooling = prepared, pooling
        self._weights = np.zeros(len(prepared.windows), dtype=np.float32)
        self._sums = np.zeros((len(prepared.windows), *size), dtype=np.float32)

    def weigh(self, chosen: Longs, batch: Batch) -> Floats | None:
        """[n, S] weights of the tokens of these windows."""
        weights = self._pooling.weights(chosen, batch)
        if weights is None:
            return None
        self._weights[chosen] = weights.sum(axis=-1)[:, 0]
        return weights[:, 0]

    def keep(self, chosen: Longs, sums: Floats) -> None:
        """Takes the sums of a pass, [n, L + 1, D].

        Raises:
            NotANumber: the model computes NaN.
        """
        self._sums[chosen] = checked(sums)

    def column(self) -> pa.FixedSizeListArray:
        """[R] lists of the L + 1 means, not scaled to any length; null for a question without tokens."""
        prepared, (windows, layers, width) = self._prepared, self._sums.shape
        means = embed_owners(prepared, self._sums.reshape(windows, layers * width), self._weights, normalize=False)
        missing = without_question(prepared) if "question" in self._pooling.embedding.parts else None
        of_layers = pa.FixedSizeListArray.from_arrays(pa.array(means[prepared.row_owner].reshape(-1)), width)
        mask = None if missing is None else pa.array(missing[prepared.row_owner])
        return pa.FixedSizeListArray.from_arrays(of_layers, layers, mask=mask)
