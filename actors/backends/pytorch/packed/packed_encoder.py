"""Encoders of BERT's kind over windows that lie end to end, without padding.

A pass over [T] tokens has no padding and no mask, and its matrix products are as large as T, whatever the windows'
lengths: only attention knows of windows. The weights are those of a transformers module.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.backends.pytorch.cpu_linear import MakeProduct, Product, plain
from actors.backends.pytorch.packed.attention import Attention, Windows

_AFTER_PADDING = frozenset({"camembert", "roberta", "xlm-roberta"})
"""Models that count positions from the id of the pad token on."""
_BERT_LIKE = frozenset({"bert", "electra"}) | _AFTER_PADDING


@dataclass(frozen=True)
class _Embeddings:
    words: nn.Embedding
    positions: nn.Embedding
    types: nn.Embedding | None
    norm: nn.LayerNorm
    project: Product | None
    """To the width of the layers, where ELECTRA's embeddings are narrower."""
    pad_id: int | None
    """Of the pad token, where positions are counted from it on, and a pad token in a text has no place of its own (as
    in transformers' `create_position_ids_from_input_ids`); None where they are counted from 0."""

    def __call__(self, ids: Tensor, positions: Tensor, types: Tensor | None) -> Tensor:
        states: Tensor = self.words(ids)
        states += self.positions(
            positions if self.pad_id is None else _places_beside_padding(ids, positions, self.pad_id)
        )
        if self.types is not None:
            states += self.types.weight[0] if types is None else self.types(types)
        states = self.norm(states)
        if self.project is not None:
            states = self.project(states)
        return states


@dataclass(frozen=True)
class _Layer:
    queries_keys_values: Product
    """Three products in one: [D] to [3 * D]."""
    heads: int
    attended: Product
    attention_norm: nn.LayerNorm
    widen: Product
    """With the activation."""
    narrow: Product
    norm: nn.LayerNorm

    def __call__(self, states: Tensor, windows: Windows, attention: Attention) -> Tensor:
        tokens, width = states.shape
        query, key, value = self.queries_keys_values(states).view(tokens, 3, self.heads, -1).unbind(1)
        mixed = self.attended(attention(query, key, value, windows).view(tokens, width))
        mixed += states
        states = self.attention_norm(mixed)
        fed = self.narrow(self.widen(states))
        fed += states
        normed: Tensor = self.norm(fed)
        return normed


@dataclass(frozen=True)
class PackedEncoder:
    """The encoder of a transformers model, whose weights it shares."""

    embeddings: _Embeddings
    layers: tuple[_Layer, ...]

    @classmethod
    def of(cls, model: PreTrainedModel, make: MakeProduct = plain) -> "PackedEncoder | None":
        """The encoder of a model, with products of its weights as `make` gives them; None where its kind is not known.

        Afterwards the model's query, key and value weights are views of one matrix, so that both can be used.
        """
        if not cls.knows(model):
            return None
        kind = model.config.model_type
        return _distilbert(model.base_model, make) if kind == "distilbert" else _bert(model.base_model, kind, make)

    @staticmethod
    def knows(model: PreTrainedModel) -> bool:
        """Whether the model's kind is known here; copies nothing, as `of` does."""
        config = model.config
        if config.model_type == "distilbert":
            return True
        has_places = getattr(config, "position_embedding_type", "absolute") in ("absolute", None)
        return config.model_type in _BERT_LIKE and has_places and not getattr(config, "is_decoder", False)

    def __call__(
        self, ids: Tensor, positions: Tensor, types: Tensor | None, windows: Windows, attention: Attention
    ) -> Tensor:
        """The last hidden states of a pass.

        Args:
            ids: [T] int32 or int64 tokens, window after window.
            positions: [T], likewise, place of each token within its window.
            types: [T], likewise, token types; None where the model has none or all are 0.

        Returns:
            [T, D]
        """
        states = self.embeddings(ids, positions, types)
        for layer in self.layers:
            states = layer(states, windows, attention)
        return states


def _places_beside_padding(ids: Tensor, positions: Tensor, pad_id: int) -> Tensor:
    counts = ids != pad_id
    so_far = counts.cumsum(0)
    first = torch.arange(len(ids), device=ids.device) - positions
    in_window = so_far - so_far[first] + counts[first]
    return in_window * counts + pad_id


def _distilbert(model: Any, make: MakeProduct) -> PackedEncoder:
    found = model.embeddings
    embeddings = _Embeddings(found.word_embeddings, found.position_embeddings, None, found.LayerNorm, None, None)
    layers = tuple(
        _Layer(
            make(_join(layer.attention.q_lin, layer.attention.k_lin, layer.attention.v_lin), None),
            layer.attention.n_heads,
            make(layer.attention.out_lin, None),
            layer.sa_layer_norm,
            make(layer.ffn.lin1, layer.ffn.activation),
            make(layer.ffn.lin2, None),
            layer.output_layer_norm,
        )
        for layer in model.transformer.layer
    )
    return PackedEncoder(embeddings, layers)


def _bert(model: Any, kind: str, make: MakeProduct) -> PackedEncoder:
    found = model.embeddings
    pad_id = int(found.padding_idx) if kind in _AFTER_PADDING else None
    project = getattr(model, "embeddings_project", None)
    embeddings = _Embeddings(
        found.word_embeddings,
        found.position_embeddings,
        found.token_type_embeddings,
        found.LayerNorm,
        None if project is None else make(project, None),
        pad_id,
    )
    layers = tuple(
        _Layer(
            make(_join(layer.attention.self.query, layer.attention.self.key, layer.attention.self.value), None),
            layer.attention.self.num_attention_heads,
            make(layer.attention.output.dense, None),
            layer.attention.output.LayerNorm,
            make(layer.intermediate.dense, layer.intermediate.intermediate_act_fn),
            make(layer.output.dense, None),
            layer.output.LayerNorm,
        )
        for layer in model.encoder.layer
    )
    return PackedEncoder(embeddings, layers)


def _join(*parts: nn.Linear) -> nn.Linear:
    """One product for several, which become views of it: the weights are held once."""
    width, height = parts[0].in_features, parts[0].out_features
    joined = nn.Linear(width, height * len(parts), device="meta")
    joined.weight = nn.Parameter(torch.cat([part.weight.detach() for part in parts]), requires_grad=False)
    joined.bias = nn.Parameter(torch.cat([part.bias.detach() for part in parts]), requires_grad=False)
    for number, part in enumerate(parts):
        own = slice(number * height, (number + 1) * height)
        part.weight = nn.Parameter(joined.weight[own], requires_grad=False)
        part.bias = nn.Parameter(joined.bias[own], requires_grad=False)
    return joined
