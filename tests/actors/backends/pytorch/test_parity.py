"""Models that run padded compute with the faster products, unless they would compute something else."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForQuestionAnswering, MPNetConfig, PreTrainedModel

from actors.backends.pytorch import parity
from actors.backends.pytorch.cpu_linear import MakeProduct, laid_out, plain
from actors.backends.pytorch.parity import difference, lay_out_weights, own_states, trial_batch


@pytest.fixture
def model() -> PreTrainedModel:
    """A small MPNet, which runs padded."""
    torch.manual_seed(0)
    config = MPNetConfig(
        vocab_size=90,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=40,
        initializer_range=0.5,
    )
    made: Any = AutoModelForQuestionAnswering.from_config(config)  # type: ignore[no-untyped-call]
    return made.eval()  # type: ignore[no-any-return]


def _linears(model: PreTrainedModel) -> int:
    return sum(type(part) is nn.Linear for part in model.base_model.modules())


def _wrong(linear: nn.Linear, activation: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    return lambda states: linear(states) + 0.1


def _failing(linear: nn.Linear, activation: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    def fails(states: Tensor) -> Tensor:
        raise RuntimeError("no such thing")

    return fails


@pytest.mark.parametrize(("make", "is_used"), [(laid_out, True), (plain, False), (_wrong, False), (_failing, False)])
def test_products_are_used_where_they_agree(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, make: MakeProduct, is_used: bool
) -> None:
    if make is laid_out and not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        pytest.skip("torch has no oneDNN here")
    batch, linears = trial_batch(model), _linears(model)
    before = own_states(model, batch)
    monkeypatch.setattr(parity, "fastest_of", lambda module: make)
    lay_out_weights(model)
    assert _linears(model) == (0 if is_used else linears)
    np.testing.assert_allclose(own_states(model, batch), before, atol=1e-5)


def test_the_difference_leaves_padding_out_and_is_nan_where_a_state_is(model: PreTrainedModel) -> None:
    batch = trial_batch(model)
    states = own_states(model, batch)
    other = states.copy()
    other[1, 10:] = 7.0
    assert difference(other, states, batch) == 0.0
    other[0, 0, 0] = np.nan
    assert np.isnan(difference(other, states, batch))
