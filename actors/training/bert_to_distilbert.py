"""Conversion of a BERT encoder to DistilBERT's architecture."""

import torch
from torch import Tensor
from transformers import BertModel, DistilBertConfig, DistilBertForQuestionAnswering

from actors.errors import ModelError

_LAYER = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def to_distilbert(bert: BertModel, seed: int) -> DistilBertForQuestionAnswering:
    """The same encoder as a DistilBERT, with a fresh QA head; hidden states agree to 1e-5.

    DistilBERT is BERT without token types and pooler (Sanh et al. 2019), so row 0 of the token types is added to every
    position's embedding. Texts of type 0 lose nothing; the second text of a pair loses its type.

    Raises:
        ModelError: the encoder has relative positions, a decoder or another activation than gelu.
    """
    config = bert.config
    if getattr(config, "position_embedding_type", "absolute") not in (None, "absolute") or config.is_decoder:
        raise ModelError("only an encoder with absolute positions fits into DistilBERT's architecture")
    if config.hidden_act != "gelu" or config.layer_norm_eps != 1e-12:
        raise ModelError(
            f"DistilBERT has gelu and norms with an epsilon of 1e-12; this model has {config.hidden_act} and "
            f"{config.layer_norm_eps}"
        )
    torch.manual_seed(seed)
    model = DistilBertForQuestionAnswering(
        DistilBertConfig(
            vocab_size=config.vocab_size,
            max_position_embeddings=config.max_position_embeddings,
            dim=config.hidden_size,
            hidden_dim=config.intermediate_size,
            n_layers=config.num_hidden_layers,
            n_heads=config.num_attention_heads,
            pad_token_id=config.pad_token_id,
        )
    )
    model.distilbert.load_state_dict(_renamed(bert.state_dict(), config.num_hidden_layers))
    return model


def _renamed(bert: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    source = "embeddings."
    weights = {
        "embeddings.word_embeddings.weight": bert[source + "word_embeddings.weight"],
        "embeddings.position_embeddings.weight": bert[source + "position_embeddings.weight"]
        + bert[source + "token_type_embeddings.weight"][0],
        "embeddings.LayerNorm.weight": bert[source + "LayerNorm.weight"],
        "embeddings.LayerNorm.bias": bert[source + "LayerNorm.bias"],
    }
    for layer in range(layers):
        for old, new in _LAYER.items():
            for part in ("weight", "bias"):
                weights[f"transformer.layer.{layer}.{new}.{part}"] = bert[f"encoder.layer.{layer}.{old}.{part}"]
    return weights
