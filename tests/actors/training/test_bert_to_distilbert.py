"""BERT's encoder in DistilBERT's architecture computes what BERT computes."""

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from actors.errors import ModelError
from actors.training.bert_to_distilbert import to_distilbert


def _bert(**changes: Any) -> BertModel:
    torch.manual_seed(8)
    config = BertConfig(
        **{
            "vocab_size": 50,
            "hidden_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 40,
            "max_position_embeddings": 32,
            "initializer_range": 0.3,
            **changes,
        }
    )
    model = BertModel(config)
    # Norms and biases begin at 1 and 0, and would be equal whichever was taken.
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight) * 0.2)
    model.train(False)
    return model


@torch.no_grad()
def test_hidden_states_of_texts_agree_in_a_padded_batch() -> None:
    bert = _bert()
    found = to_distilbert(bert, seed=1)
    found.train(False)
    lengths = torch.tensor([32, 5, 17])
    mask = (torch.arange(32) < lengths[:, None]).long()
    ids = torch.randint(1, 50, (3, 32)) * mask
    theirs = bert(input_ids=ids, attention_mask=mask).last_hidden_state
    ours = found.distilbert(input_ids=ids, attention_mask=mask).last_hidden_state
    apart = (theirs - ours)[mask.bool()].abs()
    assert float(apart.max()) <= 1e-5
    assert float(theirs.std()) > 0.5
    # Of the second type, hidden states would be others.
    typed = bert(input_ids=ids, attention_mask=mask, token_type_ids=torch.ones_like(ids)).last_hidden_state
    assert float((typed - ours)[mask.bool()].abs().max()) > 1e-2


def test_the_head_hangs_on_the_seed() -> None:
    heads = [to_distilbert(_bert(), seed).qa_outputs.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_the_config_is_that_of_the_encoder() -> None:
    config = to_distilbert(_bert(pad_token_id=3), 1).config
    shape = (config.vocab_size, config.dim, config.n_layers, config.n_heads, config.hidden_dim)
    assert shape == (50, 24, 3, 4, 40)
    assert (config.max_position_embeddings, config.pad_token_id, config.activation) == (32, 3, "gelu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_act": "relu"}, "gelu and norms .*; this model has relu and 1e-12"),
        ({"layer_norm_eps": 1e-5}, "epsilon of 1e-12; this model has gelu and 1e-05"),
        ({"is_decoder": True}, "absolute positions"),
        ({"position_embedding_type": "relative_key"}, "absolute positions"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        to_distilbert(_bert(**changes), 1)
