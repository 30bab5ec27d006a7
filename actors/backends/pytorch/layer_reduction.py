"""What a padded pass tells of its layers, made small on the device: only what was asked for travels to the host."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from actors.backends.layer_output import MOST_SHARES, Attention, Attribution, LayerOutput, LayerRequest, ModelDepth
from actors.backends.pytorch.span_search import FoundSpans
from actors.backends.pytorch.transfer import Transfer
from actors.batch import Batch
from actors.errors import ModelError


def depth_of(model: PreTrainedModel) -> ModelDepth | None:
    """Layers and heads by the model's config; None where it does not say."""
    layers, heads = (getattr(model.config, name, None) for name in ("num_hidden_layers", "num_attention_heads"))
    return None if layers is None or heads is None else ModelDepth(int(layers), int(heads))


def shared_copy(model: PreTrainedModel) -> PreTrainedModel:
    """The model with a config of its own and no hooks; the weights are the same tensors."""
    tensors = (*model.parameters(), *model.buffers())
    view = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for module in view.modules():
        module._forward_hooks.clear()
    return view


def with_weights_of_attention(model: PreTrainedModel) -> PreTrainedModel:
    """The same, computing attention in the one way that says what was attended to."""
    model.set_attn_implementation("eager")
    return model


@dataclass(frozen=True)
class LayerResults:
    """On their way to the host."""

    mean_states: Tensor | None
    layer_pooled: Tensor | None
    attention: tuple[Tensor, Tensor | None] | None
    attribution: tuple[Tensor, Tensor, Tensor] | None


@dataclass(frozen=True)
class LayerReduction:
    """What is asked of one pass, with its arrays as the device takes them."""

    request: LayerRequest
    transfer: Transfer
    staged: dict[str, Tensor]

    @classmethod
    def of(cls, request: LayerRequest, batch: Batch, transfer: Transfer) -> "LayerReduction":
        """Stages the arrays of a pass."""
        arrays: dict[str, Any] = {"layer_weights": request.layer_weights, "real": batch.real}
        if request.answer_rows is not None:
            rows = request.answer_rows
            arrays |= {"first": rows.first, "last": rows.last, "is_text": rows.is_text}
            arrays["passage_start"] = batch.passage_start
        return cls(
            request, transfer, {name: transfer.stage(array) for name, array in arrays.items() if array is not None}
        )

    @property
    def flags(self) -> dict[str, bool]:
        """Arguments of the model's forward."""
        return {"output_hidden_states": self._needs_states, "output_attentions": self._needs_attention}

    @property
    def _needs_states(self) -> bool:
        return bool(self.request.mean_of) or self.request.layer_weights is not None

    @property
    def _needs_attention(self) -> bool:
        return self.request.attention is not None or self.request.answer_rows is not None

    def reduce(self, model: PreTrainedModel, output: Any, found: FoundSpans | None) -> LayerResults:
        """Makes what the model gave small.

        Args:
            output: of the model's forward, with `flags`.
            found: the candidates, on the device.

        Raises:
            ModelError: the model gives no hidden states, or no attention between all tokens of a window.
        """
        given = {name: self.transfer.to_device(tensor) for name, tensor in self.staged.items()}
        depth = depth_of(model)
        states: Sequence[Tensor] = getattr(output, "hidden_states", None) or ()
        weights: Sequence[Tensor] = getattr(output, "attentions", None) or ()
        if depth is None or (self._needs_states and len(states) != depth.layers + 1):
            raise ModelError(
                f"this {model.config.model_type} does not give the hidden states of its layers; leave hidden out of "
                "output.columns, and token_vectors.layers at last"
            )
        if self._needs_attention and not _are_complete(weights, depth):
            raise ModelError(
                f"this {model.config.model_type} does not say what its tokens attend to; leave attention and "
                "attribution out of output.columns"
            )
        return LayerResults(
            self._mean(states),
            self._pooled(states, given),
            self._attention(weights, given),
            self._attributed(weights, given, found),
        )

    def _mean(self, states: Sequence[Tensor]) -> Tensor | None:
        numbers = self.request.mean_of
        if not numbers:
            return None
        total = states[numbers[0]].float()
        for number in numbers[1:]:
            total = total + states[number].float()
        return self.transfer.to_host(total / len(numbers))

    def _pooled(self, states: Sequence[Tensor], given: dict[str, Tensor]) -> Tensor | None:
        if "layer_weights" not in given:
            return None
        weights = given["layer_weights"].unsqueeze(1)
        return self.transfer.to_host(torch.cat([torch.bmm(weights, layer.float()) for layer in states], dim=1))

    def _attention(self, weights: Sequence[Tensor], given: dict[str, Tensor]) -> tuple[Tensor, Tensor | None] | None:
        wanted = self.request.attention
        if wanted is None:
            return None
        layers = [weights[number - 1] for number in wanted.layers or range(1, len(weights) + 1)]
        if wanted.top is None:
            return self.transfer.to_host(torch.stack([layer.float() for layer in layers], dim=1)), None
        mask = given["real"][:, None, None, :] if "real" in given else None
        heaviest = [_heaviest(layer.float(), mask, wanted.top) for layer in layers]
        values, targets = (torch.stack(parts, dim=1) for parts in zip(*heaviest, strict=True))
        return self.transfer.to_host(values), self.transfer.to_host(targets)

    def _attributed(
        self, weights: Sequence[Tensor], given: dict[str, Tensor], found: FoundSpans | None
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        if "is_text" not in given or found is None:
            return None
        total = weights[0].float().sum(dim=1)
        for layer in weights[1:]:
            total += layer.float().sum(dim=1)
        total /= len(weights)
        starts, ends = _answer_tokens(given, found)
        number = torch.arange(len(total), device=total.device)[:, None]
        from_start, from_end = total[number, starts], total[number, ends]
        both, targets = _heaviest(from_start + from_end, given["is_text"][:, None, :], MOST_SHARES)
        own = targets.clamp(min=0).long()
        is_used = (both >= 0) & (found.start >= 0)[:, :, None]
        targets = torch.where(is_used, targets, -1)
        shares = (torch.where(is_used, rows.gather(2, own), 0.0) for rows in (from_start, from_end))
        to_start, to_end = (self.transfer.to_host(rows) for rows in shares)
        return self.transfer.to_host(targets), to_start, to_end

    @staticmethod
    def read(results: LayerResults) -> LayerOutput:
        """What came back, once the device is done."""
        return LayerOutput(
            None if results.mean_states is None else results.mean_states.numpy(),
            None if results.layer_pooled is None else results.layer_pooled.numpy(),
            None if results.attention is None else Attention(*(_numpy(one) for one in results.attention)),
            None if results.attribution is None else Attribution(*(one.numpy() for one in results.attribution)),
        )


def _numpy(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.numpy()


def _are_complete(weights: Sequence[Tensor | None], depth: ModelDepth) -> bool:
    """Whether each layer and head has a weight for every pair of a window's tokens."""
    return len(weights) == depth.layers and all(
        one is not None and one.ndim == 4 and one.shape[1] == depth.heads and one.shape[2] == one.shape[3]
        for one in weights
    )


def _answer_tokens(given: dict[str, Tensor], found: FoundSpans) -> tuple[Tensor, Tensor]:
    """[n, C] the first and the last token of the answers that candidates are, by their places in the window."""
    offset = given["passage_start"][:, None]
    start, end = (found.start.clamp(min=0) + offset, found.end.clamp(min=0) + offset)
    first, last = given["first"].gather(1, start), given["last"].gather(1, end)
    in_words = (first >= 0) & (last >= 0)
    return torch.where(in_words, first.long(), start), torch.where(in_words, last.long(), end)


def _heaviest(weights: Tensor, allowed: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of the last dimension, the largest first, of equal ones the left one; and their places, int16.

    Args:
        weights: 0 or more, float32.
        allowed: which of them count, of a shape that `weights` takes; None for all. Others are -1, at place -1.
    """
    if allowed is not None:
        weights = weights.masked_fill(~allowed, -1.0)
    width = weights.shape[-1]
    # One whole number of a weight and its place: `torch.topk` says nothing of equal ones. The bits of floats that are
    # not negative are in the order of the floats.
    keys = weights.contiguous().view(torch.int32).to(torch.int64)
    keys = (keys << 32) | torch.arange(width - 1, -1, -1, device=weights.device)
    best = torch.topk(keys, min(k, width), dim=-1).values
    places = width - 1 - (best & 0xFFFF_FFFF)
    values = weights.gather(-1, places)
    return values, torch.where(values < 0, -1, places).to(torch.int16)
