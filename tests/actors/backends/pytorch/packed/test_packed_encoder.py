"""The packed encoder computes what the transformers model computes, for every kind that it knows."""

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from actors.backends.pytorch.cpu_linear import MakeProduct, laid_out, plain
from actors.backends.pytorch.packed.attention import Windows, attend_by_length
from actors.backends.pytorch.packed.packed_encoder import PackedEncoder

SMALL: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 32,
    "initializer_range": 0.5,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "distilbert": DistilBertConfig(
        vocab_size=90, dim=24, n_layers=2, n_heads=3, hidden_dim=40, max_position_embeddings=32, initializer_range=0.5
    ),
    "distilbert with sines": DistilBertConfig(
        vocab_size=90, dim=24, n_layers=1, n_heads=3, hidden_dim=40, sinusoidal_pos_embds=True
    ),
    "bert": BertConfig(**SMALL),
    "bert with relu": BertConfig(**SMALL, hidden_act="relu"),
    "roberta": RobertaConfig(**SMALL, pad_token_id=1),
    "xlm-roberta": XLMRobertaConfig(**SMALL, pad_token_id=1),
    "camembert": CamembertConfig(**SMALL, pad_token_id=1),
    "electra": ElectraConfig(**SMALL, embedding_size=24),
    "electra with narrow embeddings": ElectraConfig(**SMALL, embedding_size=16),
}
LENGTHS = (3, 7, 7, 20)


def _model(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model: Any = AutoModelForQuestionAnswering.from_config(config)  # type: ignore[no-untyped-call]
    model.train(False)
    return model  # type: ignore[no-any-return]


def _own_states(model: PreTrainedModel, ids: torch.Tensor, types: torch.Tensor | None) -> torch.Tensor:
    states: torch.Tensor = model.base_model(ids[None], **({} if types is None else {"token_type_ids": types[None]}))[0]
    return states[0]


@pytest.mark.parametrize("make", [plain, laid_out])
@pytest.mark.parametrize("kind", CONFIGS)
@torch.inference_mode()
def test_hidden_states_are_those_of_the_model(kind: str, make: MakeProduct) -> None:
    model = _model(CONFIGS[kind])
    ids = [torch.randint(5, 90, (length,)) for length in LENGTHS]
    has_types = getattr(model.config, "type_vocab_size", 1) > 1
    types = [torch.randint(0, 2, (length,)) if has_types else None for length in LENGTHS]
    before = [_own_states(model, *window) for window in zip(ids, types, strict=True)]
    encoder = PackedEncoder.of(model, make)
    assert encoder is not None
    states = encoder(
        torch.cat(ids),
        torch.cat([torch.arange(length) for length in LENGTHS]),
        torch.cat([own for own in types if own is not None]) if has_types else None,
        Windows(LENGTHS, torch.device("cpu")),
        attend_by_length,
    )
    torch.testing.assert_close(states, torch.cat(before), atol=1e-5, rtol=0)
    again = _own_states(model, ids[-1], types[-1])
    torch.testing.assert_close(again, before[-1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["roberta", "bert"])
@torch.inference_mode()
def test_a_pad_token_in_a_text_stands_where_the_model_has_it(kind: str) -> None:
    model = _model(CONFIGS[kind])
    pad = int(model.config.pad_token_id)
    ids = torch.tensor([7, pad, 8, 9, pad, pad, 11, pad, 12, 13])
    encoder = PackedEncoder.of(model)
    assert encoder is not None
    positions = torch.cat([torch.arange(6), torch.arange(4)])
    states = encoder(ids, positions, None, Windows((6, 4), torch.device("cpu")), attend_by_length)
    torch.testing.assert_close(states[:6], _own_states(model, ids[:6], None), atol=1e-5, rtol=0)
    torch.testing.assert_close(states[6:], _own_states(model, ids[6:], None), atol=1e-5, rtol=0)


def test_token_types_that_are_not_given_are_the_first() -> None:
    model = _model(CONFIGS["bert"])
    encoder, ids, positions = PackedEncoder.of(model), torch.arange(5, 15), torch.arange(10)
    assert encoder is not None
    windows = Windows((10,), torch.device("cpu"))
    with torch.inference_mode():
        states = encoder(ids, positions, None, windows, attend_by_length)
        torch.testing.assert_close(states, _own_states(model, ids, None), atol=1e-5, rtol=0)


def test_the_weights_are_held_once() -> None:
    model = _model(CONFIGS["bert"])
    encoder = PackedEncoder.of(model)
    assert encoder is not None
    layers: Any = model.base_model.encoder
    own = layers.layer[0].attention.self
    product = encoder.layers[0].queries_keys_values
    assert isinstance(product, torch.nn.Linear)
    joined = product.weight
    assert joined.shape == (72, 24)
    for number, part in enumerate((own.query, own.key, own.value)):
        assert part.weight.data_ptr() == joined[number * 24 :].data_ptr()


@pytest.mark.parametrize(
    "config",
    [
        MPNetConfig(**SMALL),
        BertConfig(**SMALL, is_decoder=True),
    ],
    ids=["position bias", "a decoder"],
)
def test_other_kinds_are_not_known(config: PreTrainedConfig) -> None:
    assert PackedEncoder.of(_model(config)) is None
