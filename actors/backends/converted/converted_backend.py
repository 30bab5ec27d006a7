"""What the runtimes of converted models have in common: padded arrays in; logits, hidden states, pooled vectors out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from actors.arrays import Floats, Longs
from actors.backends.base import BatchLayout, PassOutput, SynchronousBackend
from actors.backends.converted.conversion import END, HIDDEN, START
from actors.backends.host_memory import HostMemory
from actors.batch import Batch


class ConvertedBackend(SynchronousBackend, ABC):
    """A converted model on one device, whose passes the thread that calls waits for."""

    def __init__(self, device: str, hidden_size: int) -> None:
        """Takes where it computes, and D."""
        self._device, self._hidden_size = device, hidden_size
        self._memory = HostMemory()

    @abstractmethod
    def compute(self, batch: Batch, outputs: Sequence[str]) -> dict[str, Floats]:
        """The outputs of a pass that are asked for, some of START, END and HIDDEN, padded; each [n, S] or [n, S, D]."""

    @property
    def device(self) -> str:
        """As torch names it."""
        return self._device

    @property
    def layout(self) -> BatchLayout:
        """None of these runtimes knows windows that lie end to end."""
        return BatchLayout.PADDED

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        return self._hidden_size

    @property
    def memory_limit(self) -> int | None:
        """Bytes that are free for a pass; None where that cannot be told."""
        return self._memory.limit() if self._device == "cpu" else None

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        """Runs a pass; see `Backend.forward`."""
        self._memory.start()
        names = [START, END] if want_spans else []
        if want_hidden or pool_weights is not None:
            names.append(HIDDEN)
        found = self.compute(batch, names)
        hidden, pooled = found.get(HIDDEN), None
        if pool_weights is not None and hidden is not None:
            pooled = np.matmul(pool_weights, hidden)
        peak = self._memory.peak() if self._device == "cpu" else None
        self._memory.tidy()
        return PassOutput(found.get(START), found.get(END), pooled, peak, hidden if want_hidden else None)


def padded_inputs(batch: Batch, names: Sequence[str]) -> dict[str, Any]:
    """[n, S] int64 arrays for the inputs that a converted model takes, by their names."""
    shape = batch.input_ids.shape

    def or_constant(values: Longs | None, constant: int) -> Longs:
        return np.full(shape, constant, dtype=np.int64) if values is None else values

    arrays = {
        "input_ids": batch.input_ids,
        "attention_mask": or_constant(batch.attention_mask, 1),
        "token_type_ids": or_constant(batch.token_type_ids, 0),
    }
    return {name: arrays[name] for name in names}
