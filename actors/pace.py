"""How fast a model is likely to be here: a few passes, timed."""

import time

import numpy as np

from actors.backends.protocol import Backend
from actors.collate import Batch
from actors.layout import EncoderSpec

_WIDTH = 128
_MOST_WINDOWS = 64
_LONG_ENOUGH = 0.05
"""Seconds of a pass that can be timed."""


def measure_pace(backend: Backend, spec: EncoderSpec, want_spans: bool) -> float:
    """Tokens per second in passes of windows of `_WIDTH` tokens; takes some tenths of a second.

    The passes double until one is long enough to be timed; the very first only warms up.
    """
    width = min(_WIDTH, spec.max_length)
    backend.forward(_windows(1, width, spec), want_spans, None)
    windows = 1
    while True:
        batch = _windows(windows, width, spec)
        started = time.perf_counter()
        backend.forward(batch, want_spans, None)
        seconds = time.perf_counter() - started
        if seconds >= _LONG_ENOUGH or windows == _MOST_WINDOWS:
            return windows * width / max(seconds, 1e-9)
        windows *= 2


def _windows(count: int, width: int, spec: EncoderSpec) -> Batch:
    zeros = np.zeros((count, width), dtype=np.int64)
    return Batch(
        input_ids=zeros + spec.pad_id,
        attention_mask=None,
        token_type_ids=zeros if spec.uses_type_ids else None,
        lengths=np.full(count, width, dtype=np.int64),
        passage_start=np.ones(count, dtype=np.int64),
        passage_length=np.full(count, width - 2, dtype=np.int64),
        cls=np.zeros(count, dtype=np.int64),
    )
