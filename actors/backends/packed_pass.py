"""A pass over the windows of a batch, packed end to end; its results are put back where a padded batch has them."""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.arrays import Floats, Longs, segments
from actors.backends.attention import Attention, Windows, attention_for
from actors.backends.base import BatchLayout, PassOutput
from actors.backends.packed_encoder import PackedEncoder
from actors.backends.padded_pass import model_inputs, to_host
from actors.batch import Batch

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.03, torch.bfloat16: 0.2}
"""Most that a hidden state, which is about 1, may differ from the model's own."""
_TRIED = (37, 5, 37)
"""Tokens of the windows that are tried."""

_LOG = logging.getLogger("spanmill.model")


@dataclass(frozen=True)
class _Packing:
    """Where the tokens of a padded batch stand when its windows lie end to end, in order of length."""

    batch: Batch

    @cached_property
    def lengths(self) -> Longs:
        """[n] of the windows in their new order."""
        return self.batch.lengths[self.order]

    @cached_property
    def order(self) -> Longs:
        """[n] windows of the batch, shortest first: those of one length are side by side."""
        return np.argsort(self.batch.lengths, kind="stable")

    @cached_property
    def cells(self) -> Longs:
        """[T] where each token stands among the n * S places of the batch."""
        return segments(self.order * self.batch.width, self.lengths)

    @cached_property
    def positions(self) -> Longs:
        """[T] place of each token within its window."""
        return segments(np.zeros_like(self.lengths), self.lengths)

    def pack(self, values: Longs | Floats) -> Tensor:
        """[T] of [n, S]."""
        return torch.from_numpy(values.reshape(-1)[self.cells])

    def unpack(self, values: Floats) -> Floats:
        """[n, S, ...] of [T, ...]; 0 on padding."""
        shape = self.batch.input_ids.shape
        room = np.zeros((shape[0] * shape[1], *values.shape[1:]), dtype=np.float32)
        room[self.cells] = values
        return room.reshape(*shape, *values.shape[1:])


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
            logits = packing.unpack(to_host(self.head(states)))
            start, end = np.ascontiguousarray(logits[..., 0]), np.ascontiguousarray(logits[..., 1])
        if pool_weights is not None:
            weights = packing.pack(pool_weights).to(self.device, non_blocking=True)
            lengths = torch.from_numpy(packing.lengths).to(self.device, non_blocking=True)
            sums = torch.segment_reduce(states.float() * weights[:, None], "sum", lengths=lengths, axis=0, unsafe=True)
            pooled = np.empty((batch.windows, sums.shape[1]), dtype=np.float32)
            pooled[packing.order] = to_host(sums)
        if want_hidden:
            hidden = packing.unpack(to_host(states))
        return PassOutput(start, end, pooled, None, hidden)

    def _encode(self, packing: _Packing) -> Tensor:
        ids = packing.pack(packing.batch.input_ids).to(self.device, non_blocking=True)
        positions = torch.from_numpy(packing.positions).to(self.device, non_blocking=True)
        types = packing.batch.token_type_ids
        type_ids = None if types is None else packing.pack(types).to(self.device, non_blocking=True)
        windows = Windows(tuple(packing.lengths.tolist()), self.device)
        return self.encoder(ids, positions, type_ids, windows, self.attention)


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
    real = np.arange(lengths.max()) < lengths[:, None]
    # Neither the first ids nor the last: special tokens stand there, and RoBERTa's kin do not count pad tokens.
    rows = model.config.vocab_size
    ids = np.random.default_rng(0).integers(rows // 4, 3 * rows // 4, real.shape)
    types = (
        np.zeros_like(ids) + (np.arange(ids.shape[1]) >= 3) if getattr(model.config, "type_vocab_size", 1) > 1 else None
    )
    batch = Batch(ids, real.astype(np.int64), types, lengths, np.ones_like(lengths), lengths - 2, None)
    mine = packed.run(batch, False, None, want_hidden=True).hidden
    theirs = to_host(model.base_model(**model_inputs(batch, model.device))[0])
    return float(np.abs(np.asarray(mine) - theirs)[real].max())
