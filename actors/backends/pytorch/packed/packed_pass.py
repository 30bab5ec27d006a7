"""A pass over the windows of a batch, packed end to end; its results are put back where a padded batch has them."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.arrays import Floats, Ints, Longs, segments
from actors.backends.base import BatchLayout, PassOutput, PassRequest
from actors.backends.device_errors import device_error
from actors.backends.pytorch.cpu_linear import MakeProduct, fastest_of, plain
from actors.backends.pytorch.packed.attention import Attention, Windows, attend_by_length, attention_for
from actors.backends.pytorch.packed.packed_encoder import PackedEncoder
from actors.backends.pytorch.parity import difference, own_states, tolerance, trial_batch
from actors.backends.pytorch.prepared_pass import HostResults, run
from actors.backends.pytorch.span_search import SpanFinder, read_candidates
from actors.backends.pytorch.transfer import Transfer
from actors.batch import Batch
from actors.errors import first_line

_Numbers = TypeVar("_Numbers", Ints, Floats)
_Number = TypeVar("_Number", bound=np.generic)
_LOG = logging.getLogger("spanmill.model")


@dataclass(frozen=True)
class _Packing:
    """The windows of a batch in the order in which they are computed: those of one length side by side."""

    batch: Batch

    @cached_property
    def order(self) -> Longs:
        """[n] windows of the batch, by length unless they are so already, from either end."""
        steps = np.diff(self.batch.lengths)
        if (steps >= 0).all() or (steps <= 0).all():
            return np.arange(self.batch.windows)
        return np.argsort(self.batch.lengths, kind="stable")

    @cached_property
    def lengths(self) -> Longs:
        """[n] of the windows in their new order."""
        return self.batch.lengths[self.order]

    @cached_property
    def tokens(self) -> Longs | None:
        """[T] which of the batch each token is; None where the order is the batch's own."""
        if (np.diff(self.order) == 1).all():
            return None
        return segments(self.batch.first[self.order], self.lengths)

    def pack(self, values: _Numbers) -> _Numbers:
        """[T] in the new order of [T] in the batch's."""
        return values if self.tokens is None else values[self.tokens]

    def pack_by_token(self, values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        """[P, T] in the new order of [n, P, S] in the batch's."""
        rows = [self.batch.unpad(np.ascontiguousarray(one)) for one in np.moveaxis(values, 1, 0)]
        return np.stack(rows if self.tokens is None else [row[self.tokens] for row in rows])

    def unpack(self, values: Floats) -> Floats:
        """[n, S, ...] of [T, ...] in the new order; 0 on padding."""
        if self.tokens is not None:
            room = np.empty_like(values)
            room[self.tokens] = values
            values = room
        return self.batch.pad(values)

    def in_place(self, values: Floats) -> Floats:
        """[n, ...] in the batch's order of [n, ...] in the new one."""
        room = np.empty_like(values)
        room[self.order] = values
        return room


@dataclass(frozen=True)
class PackedPass:
    """Runs batches through an encoder and, where there is one, a span head."""

    encoder: PackedEncoder
    head: nn.Module | None
    """[T, D] to [T, 2]: start and end logits."""
    attention: Attention
    transfer: Transfer

    layout: ClassVar = BatchLayout.PACKED

    def prepare(self, request: PassRequest) -> "_PackedRun":
        """The pass with its arrays, as the device takes them."""
        batch, weights, stage = request.batch, request.pool_weights, self.transfer.stage
        packing = _Packing(batch)
        finder = None
        if request.searches:
            finder = SpanFinder.of(batch, packing.order, request.searches, self.transfer)
        return _PackedRun(
            self,
            request,
            packing,
            ids=stage(packing.pack(batch.ids)),
            positions=stage(packing.pack(batch.positions)),
            types=None if batch.types is None else stage(packing.pack(batch.types)),
            lengths=stage(packing.lengths),
            pool_weights=None if weights is None else stage(packing.pack_by_token(weights)),
            max_tokens=None if request.max_tokens is None else stage(packing.pack_by_token(request.max_tokens)),
            finder=finder,
        )


@dataclass
class _PackedRun:
    owner: PackedPass
    request: PassRequest
    packing: _Packing
    ids: Tensor
    positions: Tensor
    types: Tensor | None
    lengths: Tensor
    pool_weights: Tensor | None
    """[P, T]"""
    max_tokens: Tensor | None
    """[M, T]"""
    finder: SpanFinder | None
    results: HostResults | None = None

    def launch(self) -> None:
        """See `PreparedPass`."""
        owner, transfer, results = self.owner, self.owner.transfer, HostResults()
        positions = transfer.to_device(self.positions)
        types = None if self.types is None else transfer.to_device(self.types)
        windows = Windows(tuple(self.packing.lengths.tolist()), transfer.device)
        states = owner.encoder(transfer.to_device(self.ids), positions, types, windows, owner.attention)
        if self.request.want_spans and owner.head is not None:
            logits = owner.head(states)
            if self.finder is None:
                results.start, results.end = (transfer.to_host(logits[:, column]) for column in (0, 1))
            else:
                results.found = self.finder.find(*self._padded(logits, positions))
        if self.pool_weights is not None:
            weights, exact = transfer.to_device(self.pool_weights), states.float()
            results.pooled = self._reduced("sum", (exact * one[:, None] for one in weights))
        if self.max_tokens is not None:
            others, exact = ~transfer.to_device(self.max_tokens), states.float()
            results.maxima = self._reduced("max", (exact.masked_fill(one[:, None], -math.inf) for one in others))
        if self.request.want_hidden:
            results.hidden = transfer.to_host(states)
        self.results = results

    def _reduced(self, how: str, values: Iterator[Tensor]) -> Tensor:
        """[n, P, D] over the tokens of every window, of P times [T, D], one after the other; on the host."""
        transfer = self.owner.transfer
        lengths = transfer.to_device(self.lengths)
        rows = [torch.segment_reduce(one, how, lengths=lengths, axis=0, unsafe=True) for one in values]
        return transfer.to_host(torch.stack(rows, dim=1))

    def _padded(self, logits: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end logits, [n, S] each, of [T, 2]; whatever on padding."""
        n, width = self.request.batch.windows, self.request.batch.width
        lengths = self.owner.transfer.to_device(self.lengths)
        rows = torch.repeat_interleave(torch.arange(n, device=logits.device), lengths, output_size=len(logits))
        room = torch.zeros((2, n, width), dtype=logits.dtype, device=logits.device)
        room[:, rows, positions.long()] = logits.T
        return room[0], room[1]

    def read(self) -> PassOutput:
        """See `PreparedPass`; what stands on padding is 0."""
        results, packing = self.results or HostResults(), self.packing
        start, end, hidden = (
            None if tensor is None else packing.unpack(tensor.numpy())
            for tensor in (results.start, results.end, results.hidden)
        )
        pooled, maxima = (
            None if tensor is None else packing.in_place(tensor.numpy()) for tensor in (results.pooled, results.maxima)
        )
        found = None if results.found is None else read_candidates(results.found, packing.order)
        return PassOutput(start, end, pooled, None, hidden, found, maxima=maxima)


@torch.inference_mode()
def packed_pass(
    model: PreTrainedModel, attention: Attention | None = None, make: MakeProduct | None = None
) -> PackedPass | None:
    """A pass with the weights of a model, on its device and in its precision, if it computes what the model computes.

    None where the model's kind is not known here, or where what it computes differs from the model's own pass: then a
    warning is logged.

    Args:
        attention: None takes the fastest; one that fails is replaced by `attend_by_length`, with a warning.
        make: products of the layers; None takes the fastest.
    """
    if not PackedEncoder.knows(model):
        return None
    batch = trial_batch(model)
    own = own_states(model, batch)
    attention = attention or attention_for(model.device, model.dtype)
    for one in (make,) if make else dict.fromkeys((fastest_of(model.base_model), plain)):
        try:
            packed, states = _tried(model, one, attention, batch)
        except RuntimeError:
            if one is plain:
                raise
            # Not every build has such a product for every layer and activation.
            off, most = math.nan, tolerance(model, one)
            continue
        off, most = difference(states, own, batch), tolerance(model, one)
        # Where it is NaN, nothing can be said for it.
        if off <= most:
            return packed
    _LOG.warning(
        "this %s is computed with padding, which is slower: without it, hidden states differ by %.2g from its own "
        "forward pass's, and %.2g is allowed",
        model.config.model_type,
        off,
        most,
    )
    return None


def _tried(model: PreTrainedModel, make: MakeProduct, attention: Attention, batch: Batch) -> tuple[PackedPass, Floats]:
    """A pass that runs, and the hidden states that it gives."""
    encoder = PackedEncoder.of(model, make)
    if encoder is None:
        raise ValueError(f"{model.config.model_type} is not known")
    packed = PackedPass(encoder, getattr(model, "qa_outputs", None), attention, Transfer(model.device))
    try:
        return packed, _states(packed, batch)
    except Exception as error:
        if attention is attend_by_length or device_error(error) is not None:
            raise
        # Torch's kernel takes no heads of some widths, and is not there in every build for every GPU.
        _LOG.warning(
            "windows of this %s are attended one length after the other, which is slower: the kernel for any length "
            "fails with %s: %s",
            model.config.model_type,
            type(error).__name__,
            first_line(error),
        )
    packed = replace(packed, attention=attend_by_length)
    return packed, _states(packed, batch)


def _states(packed: PackedPass, batch: Batch) -> Floats:
    states = run(packed, PassRequest(batch, want_hidden=True), packed.transfer.device).hidden
    if states is None:
        raise ValueError("a pass gave no hidden states")
    return states
