"""The column token_vectors: a hidden state for every token of a passage, every token once."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actors.arrays import Floats, Longs
from actors.batch import Batch
from actors.engine.decoding.compact_vectors import in_float_type
from actors.engine.decoding.owned_tokens import OwnedTokens
from actors.engine.decoding.rows import checked, list_offsets, of_rows
from actors.parameters import TokenVectorParameters
from actors.tokenization.tokenized import Tokenized

_LARGEST = np.float32(127)


def column_type(parameters: TokenVectorParameters, width: int) -> pa.DataType:
    """A list of vectors of this width D; int8 is a struct of such a list, and of a scale for each vector: number times
    scale is the value.
    """
    vectors = pa.list_(pa.list_(pa.from_numpy_dtype(np.dtype(parameters.dtype)), width))
    if parameters.dtype != "int8":
        return vectors
    return pa.struct([("values", vectors), ("scales", pa.list_(pa.float32()))])


class TokenVectors:
    """Collects the vectors of a request or shard, in the type in which they are written."""

    def __init__(self, prepared: Tokenized, parameters: TokenVectorParameters, hidden_size: int) -> None:
        """Makes room for T tokens."""
        self._prepared, self._width = prepared, hidden_size
        self._type = column_type(parameters, hidden_size)
        self._owned = OwnedTokens.of(prepared.windows, prepared.owners)
        tokens = int(self._owned.offsets[-1])
        self._values: npt.NDArray[np.generic] = np.zeros((tokens, hidden_size), dtype=parameters.dtype)
        self._scales = np.zeros(tokens, dtype=np.float32) if parameters.dtype == "int8" else None

    def keep(self, chosen: Longs, batch: Batch, states: Floats) -> None:
        """Takes the hidden states of a pass, [n, S, D].

        Raises:
            NotANumber: the model computes NaN.
        """
        source, target = self._owned.moves(self._prepared.windows, chosen, batch)
        vectors = checked(states.reshape(-1, self._width)[source])
        if self._scales is None:
            self._values[target] = in_float_type(vectors, self._values.dtype)
            return
        scales = np.abs(vectors).max(axis=1, initial=0) / _LARGEST
        self._scales[target] = scales
        self._values[target] = np.rint(vectors / np.where(scales > 0, scales, 1)[:, None])

    def column(self) -> pa.Array:
        """[R] of `column_type`."""
        offsets = list_offsets(np.diff(self._owned.offsets), "token vectors")
        flat = pa.FixedSizeListArray.from_arrays(pa.array(self._values.reshape(-1)), self._width)
        vectors = pa.ListArray.from_arrays(offsets, flat)
        if self._scales is None:
            return of_rows(vectors, self._prepared)
        scales = pa.ListArray.from_arrays(offsets, pa.array(self._scales))
        return of_rows(pa.StructArray.from_arrays([vectors, scales], fields=list(self._type)), self._prepared)
