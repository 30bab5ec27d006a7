"""A pass over the windows of a batch, packed end to end; its results are put back where a padded batch has them."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.arrays import Floats, Longs, segments
from actors.backends.attention import Attention, Windows, attend_by_length, attention_for
from actors.backends.base import BatchLayout, PassOutput, PassRequest
from actors.backends.device_errors import device_error
from actors.backends.packed_encoder import PackedEncoder
from actors.backends.padded_pass import model_inputs
from actors.backends.prepared_pass import HostResults, run
from actors.backends.span_search import SpanFinder, read_candidates
from actors.backends.transfer import Transfer
from actors.batch import Batch
from actors.errors import first_line

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.03, torch.bfloat16: 0.2}
"""Most that a hidden state, which is about 1, may differ from the model's own."""
_TRIED = (37, 5, 37)
"""Tokens of the windows that are tried."""

_Numbers = TypeVar("_Numbers", Longs, Floats)
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

    def pack(self, values: _Numbers) -> _Numbers:
        """[T] of [n, S]."""
        return values.reshape(-1)[self.cells]

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
    transfer: Transfer

    layout: ClassVar = BatchLayout.PACKED

    def prepare(self, request: PassRequest) -> "_PackedRun":
        """The pass with its arrays, as the device takes them."""
        batch, stage = request.batch, self.transfer.stage
        packing = _Packing(batch)
        finder = None
        if request.searches:
            finder = SpanFinder.of(batch, packing.order, request.searches, self.transfer)
        return _PackedRun(
            self,
            request,
            packing,
            ids=stage(packing.pack(batch.input_ids)),
            positions=stage(packing.positions),
            types=None if batch.token_type_ids is None else stage(packing.pack(batch.token_type_ids)),
            lengths=stage(packing.lengths),
            pool_weights=None if request.pool_weights is None else stage(packing.pack(request.pool_weights)),
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
            weights, lengths = transfer.to_device(self.pool_weights), transfer.to_device(self.lengths)
            weighted = states.float() * weights[:, None]
            sums = torch.segment_reduce(weighted, "sum", lengths=lengths, axis=0, unsafe=True)
            results.pooled = transfer.to_host(sums)
        if self.request.want_hidden:
            results.hidden = transfer.to_host(states)
        self.results = results

    def _padded(self, logits: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end logits, [n, S] each, of [T, 2]; whatever on padding."""
        n, width = self.request.batch.input_ids.shape
        lengths = self.owner.transfer.to_device(self.lengths)
        rows = torch.repeat_interleave(torch.arange(n, device=logits.device), lengths, output_size=len(logits))
        room = torch.zeros((2, n, width), dtype=logits.dtype, device=logits.device)
        room[:, rows, positions] = logits.T
        return room[0], room[1]

    def read(self) -> PassOutput:
        """See `PreparedPass`; what stands on padding is 0."""
        results, packing = self.results or HostResults(), self.packing
        start, end, hidden = (
            None if tensor is None else packing.unpack(tensor.numpy())
            for tensor in (results.start, results.end, results.hidden)
        )
        pooled = None
        if results.pooled is not None:
            pooled = np.empty(results.pooled.shape, dtype=np.float32)
            pooled[packing.order] = results.pooled.numpy()
        found = None if results.found is None else read_candidates(results.found, packing.order)
        return PassOutput(start, end, pooled, None, hidden, found)


@torch.inference_mode()
def packed_pass(model: PreTrainedModel, attention: Attention | None = None) -> PackedPass | None:
    """A pass with the weights of a model, on its device and in its precision, if it computes what the model computes.

    Args:
        attention: None takes the fastest; one that fails is replaced by `attend_by_length`, with a warning.

    None where the model's kind is not known here, or where what it computes differs from the model's own pass: then a
    warning is logged.
    """
    encoder = PackedEncoder.of(model)
    if encoder is None:
        return None
    head = getattr(model, "qa_outputs", None)
    packed = PackedPass(encoder, head, attention or attention_for(model.device, model.dtype), Transfer(model.device))
    try:
        off = _difference(packed, model)
    except Exception as error:
        if packed.attention is attend_by_length or device_error(error) is not None:
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
        off = _difference(packed, model)
    most = _TOLERANCE[model.dtype]
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
    mine = run(packed, PassRequest(batch, want_hidden=True), model.device).hidden
    theirs = model.base_model(**model_inputs(batch, model.device))[0].float().cpu().numpy()
    return float(np.abs(np.asarray(mine) - theirs)[real].max())
