"""The null runtime: logits are hashes of the tokens instead of a forward pass, to measure everything but the model."""

from pathlib import Path

import numpy as np

from actors.arrays import Floats, Ints
from actors.backends.base import (
    TRANSFORMERS_WEIGHTS,
    BatchLayout,
    ModelOutput,
    PassOutput,
    Runtime,
    SynchronousBackend,
)
from actors.backends.precision import EXACT
from actors.batch import Batch
from actors.model_config import load_config
from actors.parameters import ModelParameters

_BITS = 16
_TOKEN_STEP, _PLACE_STEP = np.int32(40_503), np.int32(28_411)
_SEED = 16
_SPREAD = 3.0


class NullBackend(SynchronousBackend):
    """Numbers that depend on a token's id and place alone, for less than the rest of the engine costs."""

    def __init__(self, hidden_size: int) -> None:
        """Takes D of the model that it stands in for."""
        rng = np.random.default_rng(_SEED)
        self._start = rng.normal(0, _SPREAD, 1 << _BITS).astype(np.float32)
        self._end = rng.normal(0, _SPREAD, 1 << _BITS).astype(np.float32)
        self._directions = rng.normal(0, 1, (2, hidden_size)).astype(np.float32)

    @property
    def device(self) -> str:
        """Numpy's."""
        return "cpu"

    @property
    def layout(self) -> BatchLayout:
        """Padded: numbers are looked up for padding too."""
        return BatchLayout.PADDED

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        return int(self._directions.shape[1])

    @property
    def memory_limit(self) -> None:
        """None: a pass takes what its logits take."""
        return None

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        """Looks the numbers up; see `Backend.forward`. A hidden state is a sum of two directions, by the two logits."""
        cells = _cells(batch)
        start, end = self._start.take(cells), self._end.take(cells)
        pooled: Floats | None = None
        if pool_weights is not None:
            amounts = [(pool_weights * logits[:, None]).sum(axis=-1) for logits in (start, end)]
            sums = np.stack(amounts, axis=-1).reshape(-1, 2) @ self._directions
            pooled = sums.reshape(*pool_weights.shape[:2], -1)
        hidden: Floats | None = None
        if want_hidden:
            hidden = np.stack([start, end], axis=-1) @ self._directions
        return PassOutput(start if want_spans else None, end if want_spans else None, pooled, None, hidden)


def _cells(batch: Batch) -> Ints:
    """[n, S] int32 hash of id and place, below 2 ** _BITS."""
    cells = batch.input_ids.astype(np.int32)
    cells *= _TOKEN_STEP
    cells += np.arange(batch.width, dtype=np.int32) * _PLACE_STEP
    # The upper bits of a product are the well mixed ones.
    cells >>= np.int32(8)
    cells &= np.int32((1 << _BITS) - 1)
    return cells


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> NullBackend:
    """Reads the width of an embedding off the model's config; weights need not be there."""
    return NullBackend(int(load_config(folder).hidden_size))


RUNTIME = Runtime(
    name="null",
    load=_load,
    # It stands in for the torch runtime, so it is the same model: a job may be measured with it and then run.
    weights=TRANSFORMERS_WEIGHTS,
    outputs=frozenset({ModelOutput.LOGITS, ModelOutput.POOLED, ModelOutput.LAST_HIDDEN}),
    dtypes=frozenset({EXACT, "float16", "bfloat16", "int8"}),
)
