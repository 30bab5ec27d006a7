"""How probable it is that an answer begins or ends at each token of the windows that the model reads."""

import numpy as np
import pyarrow as pa

from actors.arrays import Floats, Longs, segments
from actors.batch import Batch
from actors.engine.decoding.rows import checked, windows_of_rows
from actors.engine.decoding.span_decoding import token_probabilities
from actors.engine.decoding.token_texts import WINDOW_TOKEN, WindowTokens

WINDOW = pa.struct(
    [
        ("first", pa.int32()),
        ("tokens", pa.list_(WINDOW_TOKEN)),
        ("start", pa.list_(pa.float32())),
        ("end", pa.list_(pa.float32())),
    ]
)
"""first: number of the window's first passage token. start and end: of each of its tokens, the probability that the
answer begins there, and that it ends there; 0 where none may be. A span's score is the product of two of these."""


class WindowProbabilities:
    """Collects the probabilities of windows, 8 bytes a token."""

    def __init__(self, tokens: WindowTokens) -> None:
        """Makes room."""
        self._tokens = tokens
        self._offsets = np.concatenate([[0], np.cumsum(tokens.lengths)]).astype(np.int64)
        self._start: Floats = np.zeros(int(self._offsets[-1]), dtype=np.float32)
        self._end: Floats = np.zeros_like(self._start)

    def keep(self, chosen: Longs, batch: Batch, start_logits: Floats, end_logits: Floats) -> None:
        """Takes the logits of a pass, [n, S] each.

        Raises:
            NotANumber: the model computes NaN.
        """
        own = segments(self._offsets[chosen], batch.lengths)
        for kept, logits in ((self._start, start_logits), (self._end, end_logits)):
            kept[own] = checked(batch.unpad(token_probabilities(logits, batch)))

    def column(self) -> pa.ListArray:
        """[R] lists of `WINDOW`, a row's windows in reading order."""
        prepared, tokens = self._tokens.prepared, self._tokens.of_windows()
        columns = [
            pa.array(prepared.windows.first),
            tokens,
            pa.ListArray.from_arrays(tokens.offsets, pa.array(self._start)),
            pa.ListArray.from_arrays(tokens.offsets, pa.array(self._end)),
        ]
        return windows_of_rows(pa.StructArray.from_arrays(columns, fields=list(WINDOW)), prepared)
