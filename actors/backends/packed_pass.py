"""A pass over the windows of a batch, packed end to end; its results are put back where a padded batch has them."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.arrays import Floats, Ints, Longs, segments
from actors.backends.attention import Attention, Windows, attention_for
from actors.backends.base import BatchLayout, PassOutput
from actors.backends.packed_encoder import PackedEncoder
from actors.backends.padded_pass import model_inputs, to_host
from actors.batch import Batch

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.03, torch.bfloat16: 0.2}
"""Most that a hidden state, which is about 1, may differ from the model's own."""
_TRIED = (37, 5, 37)
"""Tokens of the windows that are tried."""

_Numbers = TypeVar("_Numbers", Ints, Floats)
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

    def unpack(self, values: Floats) -> Floats:
        """[n, S, ...] of [T, ...] in the new order; 0 on padding."""
        if self.tokens is not None:
            room = np.empty_like(values)
            room[self.tokens] = values
            values = room
        return self.batch.pad(values)


@dataclass(frozen=True)
class PackedPass:
    """Runs batches through an encoder and, where there is one, a span head."""

    encoder: PackedEncoder
    head: nn.Module | None
    """[T, D] to [T, 2]: start and end logits."""
    attention: Attention
    device: torch.device

    layout: ClassVar = BatchLayout.PACKED

    def run(self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool) -> PassOutput:
        """See `Backend.forward`; what stands on padding is 0, and the peak is not told."""
        packing = _Packing(batch)
        states = self._encode(packing)
        start = end = pooled = hidden = None
        if want_spans and self.head is not None:
            logits = to_host(self.head(states))
            start, end = packing.unpack(logits[:, 0]), packing.unpack(logits[:, 1])
        if pool_weights is not None:
            weights = self._to_device(packing.pack(batch.unpad(pool_weights)))
            lengths = self._to_device(packing.lengths)
            sums = torch.segment_reduce(states.float() * weights[:, None], "sum", lengths=lengths, axis=0, unsafe=True)
            pooled = np.empty((batch.windows, sums.shape[1]), dtype=np.float32)
            pooled[packing.order] = to_host(sums)
        if want_hidden:
            hidden = packing.unpack(to_host(states))
        return PassOutput(start, end, pooled, None, hidden)

    def _encode(self, packing: _Packing) -> Tensor:
        batch = packing.batch
        ids, positions = (self._to_device(packing.pack(values)) for values in (batch.ids, batch.positions))
        types = None if batch.types is None else self._to_device(packing.pack(batch.types))
        windows = Windows(tuple(packing.lengths.tolist()), self.device)
        return self.encoder(ids, positions, types, windows, self.attention)

    def _to_device(self, values: Ints | Longs | Floats) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)


@torch.inference_mode()
def packed_pass(model: PreTrainedModel) -> PackedPass | None:
    """A pass with the weights of a model, on its device and in its precision, if it computes what the model computes.

    None where the model's kind is not known here, or where what it computes differs from the model's own pass: then a
    warning is logged.
    """
    encoder = PackedEncoder.of(model)
    if encoder is None:
        return None
    head = getattr(model, "qa_outputs", None)
    packed = PackedPass(encoder, head, attention_for(model.device, model.dtype), model.device)
    off, most = _difference(packed, model), _TOLERANCE[model.dtype]
    # Where it is NaN, nothing can be said for it.
    if not off <= most:
        _LOG.warning(
            "this %s is computed with padding, which is slower: without it, hidden states differ by %.2g from its own "
            "forward pass's, and %.2g is allowed",
            model.config.model_type,
            off,
            most,
        )
        return None
    return packed


def _difference(packed: PackedPass, model: PreTrainedModel) -> float:
    """The largest difference of a hidden state, over some windows of random tokens."""
    lengths = np.minimum(_TRIED, model.config.max_position_embeddings - 2)
    # Neither the first ids nor the last: special tokens stand there, and RoBERTa's kin do not count pad tokens.
    rows = model.config.vocab_size
    ids = np.random.default_rng(0).integers(rows // 4, 3 * rows // 4, lengths.sum(), dtype=np.int32)
    batch = Batch(ids, None, lengths, np.ones_like(lengths), lengths - 2, None, pad_id=0)
    if getattr(model.config, "type_vocab_size", 1) > 1:
        batch = replace(batch, types=(batch.positions >= 3).astype(np.int32))
    mine = packed.run(batch, False, None, want_hidden=True).hidden
    theirs = to_host(model.base_model(**model_inputs(batch, model.device))[0])
    return float(np.abs(batch.unpad(np.asarray(mine) - theirs)).max())
