"""A pass over the padded windows of a batch, by the forward of a transformers model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.arrays import Floats
from actors.backends.base import BatchLayout, PassOutput
from actors.batch import Batch


class PaddedPass:
    """Runs batches through a transformers model, with or without its QA head."""

    layout = BatchLayout.PADDED

    def __init__(self, model: PreTrainedModel) -> None:
        """Takes a model on its device and in its precision."""
        self._model = model
        self._encoder: nn.Module = model.base_model
        self._last = _LastHidden()
        self._encoder.register_forward_hook(self._last.keep)

    def run(self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool) -> PassOutput:
        """See `Backend.forward`; the peak is not told."""
        try:
            return self._run(batch, want_spans, pool_weights, want_hidden)
        finally:
            self._last.states = None

    def _run(self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool) -> PassOutput:
        device = self._model.device
        module: Callable[..., Any] = self._model if want_spans else self._encoder
        output = module(**model_inputs(batch, device))
        states = self._last.states
        start = end = pooled = None
        if want_spans:
            start, end = to_host(output.start_logits), to_host(output.end_logits)
        if pool_weights is not None and states is not None:
            weights = torch.from_numpy(pool_weights).to(device)
            pooled = to_host(torch.bmm(weights.unsqueeze(1), states.float()).squeeze(1))
        hidden = to_host(states) if want_hidden and states is not None else None
        return PassOutput(start, end, pooled, None, hidden)


class _LastHidden:
    """The hidden states of the pass that runs.

    The model refers to it, and it does not refer to the pass: a circle of the three would keep the weights in memory
    until Python looks for circles, long after the backend is gone.
    """

    states: Tensor | None = None

    def keep(self, module: nn.Module, inputs: object, output: tuple[Tensor, ...]) -> None:
        """A forward hook of the encoder."""
        self.states = output[0]


def model_inputs(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """What a model's forward takes of a batch, [n, S] int64 each, by the names of its arguments."""
    arrays = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "token_type_ids": batch.token_type_ids,
    }
    return {
        name: torch.from_numpy(array).to(device, non_blocking=True)
        for name, array in arrays.items()
        if array is not None
    }


def to_host(tensor: Tensor) -> Floats:
    """The numbers as float32, once the device has computed them."""
    array: Floats = tensor.float().cpu().numpy()
    return array.astype(np.float32, copy=False)
