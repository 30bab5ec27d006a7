"""Whole runs on the CPU: they go on to the same bits, workers share their steps, embeddings are kept."""

from typing import Any

import numpy as np
import pytest
import torch

from actors.training.checkpoint_state import dump_state, load_state
from actors.training.dataset import TextTensors
from actors.training.loop import TrainingLoop, total_steps
from actors.training.losses import embedding_distance
from actors.training.objective import LOSSES
from actors.training.setup import TrainingSetup
from tests.actors.training.helpers import (
    CPU,
    DISTILBERT,
    assembled,
    parameters,
    same_bits,
    take_steps,
    weights,
)

KEEPING = {"distance": 0.01, "texts_per_step": 3, "texts": 24, "max_tokens": 48}


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("keeping", [False, True])
def test_a_run_that_is_cut_off_goes_on_to_the_same_bits(taught: bool, keeping: bool) -> None:
    """With dropout on, over the border of an epoch, into objects that know nothing of the first half."""
    chosen = parameters(epochs=1.3, batch_size=16, **({"embeddings": KEEPING} if keeping else {}))
    teacher = DISTILBERT if taught else None

    def fresh() -> TrainingSetup:
        return assembled(chosen, teacher=teacher)

    whole, first, second = fresh(), fresh(), fresh()
    assert any(module.p > 0 for module in whole.student.modules() if isinstance(module, torch.nn.Dropout))
    steps = take_steps(whole, 0)
    assert [step.number for step in steps] == list(range(whole.loop.total))

    cut = whole.loop.total // 2
    halves = take_steps(first, 0, cut)
    data = dump_state(first.student, first.loop.trainer, cut)
    torch.manual_seed(99)
    halves += take_steps(second, load_state(data, second.student, second.loop.trainer, "here"))
    assert same_bits(weights(whole), weights(second))
    assert not same_bits(weights(whole), weights(first))
    assert [step.losses.tolist() for step in steps] == [step.losses.tolist() for step in halves]
    assert [step.weight for step in steps] == [step.weight for step in halves]
    assert len({step.weight for step in halves[cut:]}) == (len(halves) - cut if keeping else 1), "it moves"

    losses = np.array([step.losses for step in steps])
    assert np.isfinite(losses).all()
    used = {name: bool((losses[1:, i] > 0).all()) for i, name in enumerate(LOSSES)}
    assert used == {"loss": True, "span": True, "teacher": taught, "tokens": keeping, "distance": keeping}


def test_it_learns() -> None:
    setup = assembled(parameters(epochs=6.0, learning_rate=3e-3, dropout=0.0))
    losses = [float(step.losses[0]) for step in take_steps(setup, 0)]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])


def test_other_seeds_are_other_runs() -> None:
    one, other = assembled(parameters()), assembled(parameters(seed=43))
    take_steps(one, 0, 2)
    take_steps(other, 0, 2)
    assert not same_bits(weights(one), weights(other))


def test_total_steps() -> None:
    assert total_steps(100, parameters(epochs=1.0, batch_size=16)) == 6
    assert total_steps(100, parameters(epochs=2.5, batch_size=16)) == 15
    assert total_steps(100, parameters(epochs=2.5, batch_size=16, steps=400)) == 400
    assert total_steps(100, parameters(epochs=0.001, batch_size=16)) == 1
    assert total_steps(3, parameters(epochs=2.0, batch_size=16)) == 2


def _seen(run: TrainingLoop, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Input ids of every step's windows and texts, as rows without padding, and no step taken."""
    seen: list[tuple[Any, Any]] = []

    def rows(inputs: dict[str, torch.Tensor]) -> list[tuple[int, ...]]:
        return sorted(tuple(id for id in row if id) for row in inputs["input_ids"].tolist())

    def step(number: int, pairs: Any, texts: TextTensors | None) -> torch.Tensor:
        seen.append((rows(pairs.inputs), None if texts is None else rows(texts.inputs)))
        return torch.zeros(5)

    monkeypatch.setattr(run.trainer, "step", step)
    for _ in run.steps(0):
        pass
    return seen


def test_workers_share_every_batch_and_have_texts_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = parameters(embeddings=KEEPING)
    alone, *shared = (
        _seen(assembled(chosen, rank=rank, workers=workers).loop, monkeypatch)
        for rank, workers in ((0, 1), (0, 2), (1, 2))
    )
    assert len(alone) == len(shared[0]) == len(shared[1]) > 5
    for whole, one, other in zip(alone, *shared, strict=True):
        assert sorted(one[0] + other[0]) == whole[0]
        assert abs(len(one[0]) - len(other[0])) <= 1
        assert len(one[1]) == len(other[1]) == 3
    # Both together go through the texts as one worker does, twice as fast.
    both = [texts for pair in zip(*shared, strict=True) for _, texts in pair]
    assert both[: len(alone)] == [texts for _, texts in alone]


def _distance(base: TrainingSetup, setup: TrainingSetup) -> float:
    """Mean of 1 - cosine between the embeddings of the texts to keep and those of a run that took no step."""
    assert base.loop.texts is not None
    batch = TextTensors.take(base.loop.texts, np.arange(len(base.loop.texts.lengths)), CPU)
    with torch.no_grad():
        theirs, ours = (one.student.train(False).base_model(**batch.inputs)[0] for one in (base, setup))
    return float(embedding_distance(ours, theirs, batch.mask))


def test_embeddings_end_within_the_distance_that_is_allowed() -> None:
    """The weight is too small at first, and would be to the end; without one they would go much farther."""
    usual = {"learning_rate": 3e-3, "dropout": 0.0, "epochs": 6.0}
    keeping = KEEPING | {"distance": 0.0025, "slack": 0.0, "weight": 1.0}
    base, kept, free = (assembled(parameters(**usual, **more)) for more in ({"embeddings": keeping},) * 2 + ({},))
    assert _distance(base, kept) == pytest.approx(0.0, abs=1e-6)
    kept.student.train()
    weights_taken = [step.weight for step in take_steps(kept, 0)]
    take_steps(free, 0)
    assert max(weights_taken) > 2
    assert _distance(base, kept) < 0.0025
    assert _distance(base, free) > 0.04
