"""One step: gradients, clipping, the learning rate; what stays as it is."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import XLNetConfig, XLNetForQuestionAnsweringSimple

from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError
from actors.training.dataset import PairTensors, TextTensors
from actors.training.trainer import Trainer, decay_at, freeze, learning_rate_at, set_dropout
from tests.actors.helpers import GOLDEN, MODELS
from tests.actors.training.helpers import CPU, assembled, parameters, take_steps, weights

WORDS = "distilbert.embeddings.word_embeddings.weight"


class _Slope(nn.Module):
    """A loss that falls by `slope` per unit of both of its weights."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.matrix, self.vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
        self.slope = slope

    def forward(self, pairs: PairTensors, texts: TextTensors | None, weight: float) -> Tensor:
        return torch.stack([self.slope * (self.matrix.sum() + self.vector.sum())] * 5)


_ZERO = torch.zeros(1)
PAIRS = PairTensors({}, _ZERO, _ZERO, _ZERO, None)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    chosen = parameters(learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate_at(step, 200, chosen) for step in range(201)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == max(rates) == 1.0
    assert np.diff(rates[10:]) == pytest.approx(-1 / 190)
    assert rates[200] == 0.0
    decay = [decay_at(step, 200, chosen) for step in range(201)]
    assert decay[:11] == [1.0] * 11
    assert decay[10:] == rates[10:]


@pytest.mark.parametrize(("steps", "warmup"), [(1, 100), (5, 100), (40, 100), (40, 0)])
def test_short_runs_warm_up_for_a_tenth_at_most(steps: int, warmup: int) -> None:
    rates = [learning_rate_at(step, steps, parameters(learning_rate=1.0, warmup_steps=warmup)) for step in range(steps)]
    assert max(rates) == 1.0
    assert rates.index(1.0) <= steps // 10
    assert min(rates) > 0


def _averaged(share: float, steps: int, cut: int | None = None) -> list[float]:
    """The weight of a run whose steps are of one size, after each step; resumed after `cut` of them."""
    chosen = parameters(learning_rate=0.1, weight_decay=0.0, warmup_steps=0, average_last=share)
    module = _Slope(1.0)
    trainer, found = Trainer(module, chosen, steps, CPU), []
    for number in range(steps):
        if number == cut:
            state, weights_now = trainer.state(), {k: v.clone() for k, v in module.state_dict().items()}
            module = _Slope(1.0)
            trainer = Trainer(module, chosen, steps, CPU)
            module.load_state_dict(weights_now)
            trainer.restore(state)
        trainer.step(number, PAIRS, None)
        found.append(float(module.vector[0].detach()))
    return found


def test_the_model_is_the_mean_over_the_last_steps() -> None:
    plain = _averaged(0.0, 10)
    assert len(set(plain)) == 10
    mean = _averaged(0.35, 10)
    # Ten steps and a share of 0.35 are four steps; those before the last are as without a mean.
    assert mean[:-1] == plain[:-1]
    assert mean[-1] == pytest.approx(np.mean(plain[-4:]))
    assert _averaged(1.0, 3)[-1] == pytest.approx(np.mean(_averaged(0.0, 3)))
    assert _averaged(1e-6, 10) == plain


@pytest.mark.parametrize("cut", [3, 8, 9])
def test_a_mean_goes_on_after_a_kill(cut: int) -> None:
    assert _averaged(0.35, 10, cut) == _averaged(0.35, 10)


def test_matrices_decay_and_vectors_do_not() -> None:
    module = _Slope(0.0)
    trainer = Trainer(module, parameters(learning_rate=0.1, weight_decay=0.5, warmup_steps=0), 10, CPU)
    trainer.step(0, PAIRS, None)
    assert module.matrix.tolist() == [[pytest.approx(0.95)] * 2] * 2
    assert module.vector.tolist() == [1.0, 1.0]


def test_the_learning_rate_of_the_step_is_what_adamw_takes() -> None:
    # AdamW's first step is the learning rate, whatever the size of the gradient.
    module = _Slope(30.0)
    trainer = Trainer(module, parameters(learning_rate=0.1, weight_decay=0.0, warmup_steps=4), 40, CPU)
    losses = trainer.step(1, PAIRS, None)
    assert module.vector.tolist() == [pytest.approx(0.95)] * 2
    assert losses.tolist() == [180.0] * 5
    assert not losses.requires_grad


def test_gradients_are_clipped_together() -> None:
    module = _Slope(30.0)
    trainer = Trainer(module, parameters(clip=0.5), 10, CPU)
    trainer.step(0, PAIRS, None)
    # The moments of the first step are a tenth of the clipped gradient: six equal numbers of norm 0.5.
    moments = [state["exp_avg"].flatten() for state in trainer.state()["optimizer"]["state"].values()]
    assert torch.cat(moments).tolist() == [pytest.approx(0.1 * 0.5 / 6**0.5)] * 6


class _Far(nn.Module):
    """Embeddings that stay at a distance, and what the weight was that they were kept with."""

    def __init__(self, distance: float) -> None:
        super().__init__()
        self.one, self.distance = nn.Parameter(torch.ones(1)), distance
        self.weights: list[float] = []

    def forward(self, pairs: PairTensors, texts: TextTensors | None, weight: float) -> Tensor:
        self.weights.append(weight)
        return torch.cat([self.one, torch.tensor([1.0, 0.0, 9.0, self.distance])])


def test_the_weight_of_a_step_follows_the_distance_of_those_before() -> None:
    """What is allowed falls with the learning rate, from 0.3 to 0.1: 0.2 is little at first, and too much at last."""
    module = _Far(0.2)
    keeping = {"distance": 0.1, "slack": 0.2, "weight": 10.0}
    trainer = Trainer(module, parameters(warmup_steps=4, embeddings=keeping), 40, CPU)
    for number in range(40):
        assert trainer.weight == pytest.approx(([10.0, *module.weights])[-1], rel=0.011)
        trainer.step(number, PAIRS, None)
    moves = np.diff(np.log([*module.weights, trainer.weight]))
    decay = np.array([decay_at(number, 40, parameters(warmup_steps=4)) for number in range(40)])
    allowed = 0.1 + 0.2 * decay
    assert moves == pytest.approx(0.01 * (0.2 - allowed) / allowed, abs=1e-6)
    assert moves[0] < 0 < moves[-1]


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_changes_nothing_and_names_the_key(slope: float) -> None:
    module = _Slope(slope)
    trainer = Trainer(module, parameters(learning_rate=0.25), 10, CPU)
    with pytest.raises(ModelError, match=r"not a number at step 1,234; lower training\.learning_rate \(0\.25\)"):
        trainer.step(1234, PAIRS, None)
    assert module.matrix.tolist() == [[1.0, 1.0]] * 2


def test_frozen_word_embeddings_keep_every_bit() -> None:
    setup = assembled(parameters(freeze_word_embeddings=True, weight_decay=0.1))
    before = weights(setup)
    take_steps(setup, 0, 3)
    after = weights(setup)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == before.keys() - {WORDS}


def test_without_freezing_all_weights_learn() -> None:
    setup = assembled(parameters())
    before = weights(setup)
    take_steps(setup, 0, 3)
    assert all(not torch.equal(before[name], weight) for name, weight in weights(setup).items())


def test_word_embeddings_by_any_name_are_frozen() -> None:
    model = XLNetForQuestionAnsweringSimple(XLNetConfig(vocab_size=9, d_model=8, n_layer=1, n_head=2, d_inner=8))
    freeze(model, parameters(freeze_word_embeddings=True))
    assert [name for name, weight in model.named_parameters() if not weight.requires_grad] == [
        "transformer.word_embedding.weight"
    ]


def test_every_worker_draws_its_own_dropout_and_the_same_again() -> None:
    class _Drawn(_Slope):
        def forward(self, pairs: PairTensors, texts: TextTensors | None, weight: float) -> Tensor:
            drawn.append(torch.rand(1).item())
            return super().forward(pairs, texts, weight)

    drawn: list[float] = []
    for rank in (0, 1, 0):
        Trainer(_Drawn(1.0), parameters(), 10, CPU, rank).step(3, PAIRS, None)
    assert drawn[0] == drawn[2] != drawn[1]


def test_freezing_can_be_undone() -> None:
    model = load_model(GOLDEN / "models" / "distilbert", with_qa_head=True)
    freeze(model, parameters(freeze_word_embeddings=True))
    assert [name for name, weight in model.named_parameters() if not weight.requires_grad] == [WORDS]
    freeze(model, parameters())
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_the_rate_of_dropout_is_that_of_the_parameters(name: str) -> None:
    model = load_model(GOLDEN / "models" / name, with_qa_head=True)
    ids = torch.tensor([[2, 10, 11, 12, 3]])
    quiet = model.train(False)(ids).start_logits
    model.train()
    assert not torch.allclose(model(ids).start_logits, quiet)
    set_dropout(model, parameters())
    assert not torch.allclose(model(ids).start_logits, quiet), "null keeps the base's"
    set_dropout(model, parameters(dropout=0.0))
    assert torch.allclose(model(ids).start_logits, quiet, atol=1e-6)
