"""Estimates the speed of a model on this machine from a few timed passes."""

import time

import numpy as np

from actors.backends.base import Backend
from actors.batch import Batch
from actors.tokenization.encoder_spec import EncoderSpec

_WIDTH = 128
_MOST_WINDOWS = 64
_TRIES = 3
_LONG_ENOUGH = 0.4
"""Seconds of passes."""
_GAIN = 1.1
"""Where twice the windows are not faster by this factor, a pass has filled the device."""


def measure_speed(backend: Backend, spec: EncoderSpec, want_spans: bool) -> float:
    """Tokens per second in passes of windows of `_WIDTH` tokens; takes some tenths of a second.

    The passes double until they have filled the device, or there were enough; the very first only warms up. An
    estimate, and rather too low than too high: where something else takes the device for a moment, they end sooner.
    """
    width = min(_WIDTH, spec.max_length)
    backend.forward(blank_windows(1, width, spec), want_spans, None)
    windows, best, spent = 1, 0.0, 0.0
    while True:
        batch = blank_windows(windows, width, spec)
        seconds = [_seconds(backend, batch, want_spans) for _ in range(_TRIES)]
        # Whatever else runs here makes a pass slower: the best one tells most.
        speed, before = windows * width / max(min(seconds), 1e-9), best
        best = max(best, speed)
        spent += sum(seconds)
        if windows == _MOST_WINDOWS or spent >= _LONG_ENOUGH or speed < before * _GAIN:
            return best
        windows *= 2


def _seconds(backend: Backend, batch: Batch, want_spans: bool) -> float:
    started = time.perf_counter()
    backend.forward(batch, want_spans, None)
    return time.perf_counter() - started


def blank_windows(count: int, width: int, spec: EncoderSpec) -> Batch:
    """Windows of `width` pad tokens, at least two, which any model computes without an error."""
    return Batch(
        ids=np.full(count * width, spec.pad_id, dtype=np.int32),
        types=np.zeros(count * width, dtype=np.int32) if spec.uses_type_ids else None,
        lengths=np.full(count, width, dtype=np.int64),
        passage_start=np.ones(count, dtype=np.int64),
        passage_length=np.full(count, width - 2, dtype=np.int64),
        cls=np.zeros(count, dtype=np.int64),
        pad_id=spec.pad_id,
    )
