"""A pass over the padded windows of a batch, by the forward of a transformers model."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.backends.base import BatchLayout, PassOutput, PassRequest
from actors.backends.pytorch.layer_reduction import LayerReduction
from actors.backends.pytorch.prepared_pass import HostResults
from actors.backends.pytorch.span_search import SpanFinder, read_candidates
from actors.backends.pytorch.transfer import Transfer
from actors.batch import Batch


class PaddedPass:
    """Runs batches through a transformers model, with or without its QA head."""

    layout: ClassVar = BatchLayout.PADDED

    def __init__(self, model: PreTrainedModel) -> None:
        """Takes a model on its device and in its precision."""
        self.model = model
        self.encoder: nn.Module = model.base_model
        self.transfer = Transfer(model.device)
        self.last = _LastHidden()
        self.encoder.register_forward_hook(self.last.keep)

    def prepare(self, request: PassRequest) -> "_PaddedRun":
        """The pass with its arrays, as the device takes them."""
        batch, stage = request.batch, self.transfer.stage
        finder = None
        if request.searches:
            finder = SpanFinder.of(batch, np.arange(batch.windows), request.searches, self.transfer)
        return _PaddedRun(
            self,
            request,
            {name: stage(array) for name, array in _arrays(batch).items()},
            None if request.pool_weights is None else stage(request.pool_weights),
            finder,
            None if request.max_tokens is None else stage(request.max_tokens),
            None if request.layers is None else LayerReduction.of(request.layers, batch, self.transfer),
        )


@dataclass
class _PaddedRun:
    owner: PaddedPass
    request: PassRequest
    inputs: dict[str, Tensor]
    pool_weights: Tensor | None
    finder: SpanFinder | None
    max_tokens: Tensor | None
    reduction: LayerReduction | None
    results: HostResults | None = None

    def launch(self) -> None:
        """See `PreparedPass`."""
        try:
            self.results = self._compute()
        finally:
            self.owner.last.states = None

    def _compute(self) -> HostResults:
        owner, request, transfer = self.owner, self.request, self.owner.transfer
        module: Callable[..., Any] = owner.model if request.want_spans else owner.encoder
        flags = {} if self.reduction is None else self.reduction.flags
        output = module(**{name: transfer.to_device(tensor) for name, tensor in self.inputs.items()}, **flags)
        states, results, found = owner.last.states, HostResults(), None
        if self.finder is not None:
            found = self.finder.find_on_device(output.start_logits, output.end_logits)
            results.found = self.finder.to_host(found)
        if request.want_spans and (self.finder is None or request.want_logits):
            results.start, results.end = transfer.to_host(output.start_logits), transfer.to_host(output.end_logits)
        if self.pool_weights is not None and states is not None:
            weights = transfer.to_device(self.pool_weights)
            results.pooled = transfer.to_host(torch.bmm(weights, states.float()))
        if self.max_tokens is not None and states is not None:
            results.maxima = transfer.to_host(_largest(states.float(), transfer.to_device(self.max_tokens)))
        if request.want_hidden and states is not None:
            results.hidden = transfer.to_host(states)
        if self.reduction is not None:
            results.layers = self.reduction.reduce(owner.model, output, found)
        return results

    def read(self) -> PassOutput:
        """See `PreparedPass`."""
        results = self.results or HostResults()
        start, end, pooled, hidden, maxima = (
            None if tensor is None else tensor.numpy()
            for tensor in (results.start, results.end, results.pooled, results.hidden, results.maxima)
        )
        found = None
        if results.found is not None:
            found = read_candidates(results.found, np.arange(self.request.batch.windows))
        layers = None if results.layers is None else LayerReduction.read(results.layers)
        return PassOutput(start, end, pooled, None, hidden, found, maxima=maxima, layers=layers)


def _largest(states: Tensor, counted: Tensor) -> Tensor:
    """[n, M, D] of [n, S, D] and [n, M, S]: the largest numbers of the tokens that count; -inf where there are none."""
    return torch.stack(
        [states.masked_fill(~one.unsqueeze(-1), -math.inf).amax(dim=1) for one in counted.unbind(1)], dim=1
    )


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
    return {name: torch.from_numpy(array).to(device) for name, array in _arrays(batch).items()}


def _arrays(batch: Batch) -> dict[str, Any]:
    arrays = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "token_type_ids": batch.token_type_ids,
    }
    return {name: array for name, array in arrays.items() if array is not None}
