"""A runtime that sleeps for as long as a device beside the CPU would compute: what it does not share is the machine."""

import time
from pathlib import Path

import numpy as np

from actors.arrays import Floats
from actors.backends.base import BatchLayout, ModelOutput, PassOutput, Runtime, SynchronousBackend
from actors.batch import Batch
from actors.parameters import ModelParameters

SECONDS_PER_WINDOW = 0.1


class _Sleeping(SynchronousBackend):
    """Its logits are equal, so that every answer is the first token of its passage."""

    device, layout, hidden_size, memory_limit = "cpu", BatchLayout.PADDED, 384, None

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        time.sleep(SECONDS_PER_WINDOW * batch.windows)
        logits = np.zeros((batch.windows, batch.width), dtype=np.float32)
        return PassOutput(logits, logits, None, peak_bytes=None)


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> _Sleeping:
    return _Sleeping()


RUNTIME = Runtime("sleeping", _load, weights=("model.safetensors",), outputs=frozenset({ModelOutput.LOGITS}))
