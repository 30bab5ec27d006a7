"""Runtimes that sleep for as long as a device beside the CPU would compute: what they do not share is the machine."""

import time
from functools import partial
from pathlib import Path

import numpy as np

from actors.arrays import Floats
from actors.backends.base import BatchLayout, ModelOutput, PassOutput, Runtime, SynchronousBackend
from actors.batch import Batch
from actors.parameters import ModelParameters


class _Sleeping(SynchronousBackend):
    """Its logits are equal, so that every answer is the first token of its passage."""

    device, layout, hidden_size, memory_limit = "cpu", BatchLayout.PADDED, 384, None

    def __init__(self, seconds: float) -> None:
        """Takes so many seconds for a window."""
        self._seconds = seconds

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        time.sleep(self._seconds * batch.windows)
        logits = np.zeros((batch.windows, batch.width), dtype=np.float32)
        return PassOutput(logits, logits, None, peak_bytes=None)


def _load(seconds: float, folder: Path, model: ModelParameters, with_qa_head: bool) -> _Sleeping:
    return _Sleeping(seconds)


def _runtime(seconds: float) -> Runtime:
    load = partial(_load, seconds)
    return Runtime("sleeping", load, weights=("model.safetensors",), outputs=frozenset({ModelOutput.LOGITS}))


FAST = _runtime(0.1)
SLOW = _runtime(0.5)
"""Gives the same answers as FAST, and leaves a machine time to join while a job runs."""
