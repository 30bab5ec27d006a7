"""Whole runs on the CPU: they go on to the same bits, workers share their steps, embeddings are kept."""

from typing import Any

import numpy as np
import pytest
import torch

from actors.training.assembly import Assembly
from actors.training.examples import TextTensors
from actors.training.losses import keeping_loss
from actors.training.objective import LOSSES
from actors.training.run import Run, choose_texts, total_steps
from actors.training.state import dump_state, load_state
from tests.actors.training.helpers import (
    CPU,
    DISTILBERT,
    Memory,
    assembled,
    few_rows,
    parameters,
    same_bits,
    table,
    take_steps,
    weights,
)

KEEPING = {"weight": 5.0, "texts_per_step": 3, "texts": 24, "max_tokens": 48}


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("keeping", [False, True])
def test_a_run_that_is_cut_off_goes_on_to_the_same_bits(taught: bool, keeping: bool) -> None:
    """With dropout on, over the border of an epoch, into objects that know nothing of the first half."""
    chosen = parameters(epochs=1.3, batch_size=16, **({"embeddings": KEEPING} if keeping else {}))
    teacher = DISTILBERT if taught else None
    cache = Memory()

    def fresh() -> Assembly:
        return assembled(chosen, teacher=teacher, cache=cache)

    whole, first, second = fresh(), fresh(), fresh()
    assert any(module.p > 0 for module in whole.student.modules() if isinstance(module, torch.nn.Dropout))
    steps = take_steps(whole, 0)
    assert [step.number for step in steps] == list(range(whole.run.total))

    cut = whole.run.total // 2
    halves = take_steps(first, 0, cut)
    data = dump_state(first.student, first.run.learner, cut)
    torch.manual_seed(99)
    halves += take_steps(second, load_state(data, second.student, second.run.learner, "here"))
    assert same_bits(weights(whole), weights(second))
    assert not same_bits(weights(whole), weights(first))
    assert [step.losses.tolist() for step in steps] == [step.losses.tolist() for step in halves]

    losses = np.array([step.losses for step in steps])
    assert np.isfinite(losses).all()
    used = {name: bool((losses[:, i] > 0).all()) for i, name in enumerate(LOSSES)}
    assert used == {"loss": True, "span": True, "teacher": taught, "embedding": keeping}
    assert cache.puts == keeping


def test_it_learns() -> None:
    assembly = assembled(parameters(epochs=6.0, learning_rate=3e-3, dropout=0.0))
    losses = [float(step.losses[0]) for step in take_steps(assembly, 0)]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])


def test_other_seeds_are_other_runs() -> None:
    one, other = assembled(parameters()), assembled(parameters(seed=43))
    take_steps(one, 0, 2)
    take_steps(other, 0, 2)
    assert not same_bits(weights(one), weights(other))


def test_total_steps() -> None:
    assert total_steps(100, parameters(epochs=1.0, batch_size=16)) == 6
    assert total_steps(100, parameters(epochs=2.5, batch_size=16)) == 15
    assert total_steps(100, parameters(epochs=0.001, batch_size=16)) == 1
    assert total_steps(3, parameters(epochs=2.0, batch_size=16)) == 2


def _seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Input ids of every step's windows and texts, as rows without padding, and no step taken."""
    seen: list[tuple[Any, Any]] = []

    def rows(inputs: dict[str, torch.Tensor]) -> list[tuple[int, ...]]:
        return sorted(tuple(id for id in row if id) for row in inputs["input_ids"].tolist())

    def step(number: int, pairs: Any, texts: TextTensors | None) -> torch.Tensor:
        seen.append((rows(pairs.inputs), None if texts is None else rows(texts.inputs)))
        return torch.zeros(4)

    monkeypatch.setattr(run.learner, "step", step)
    for _ in run.steps(0):
        pass
    return seen


def test_workers_share_every_batch_and_have_texts_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = parameters(embeddings=KEEPING)
    cache = Memory()
    alone, *shared = (
        _seen(assembled(chosen, cache=cache, rank=rank, workers=workers).run, monkeypatch)
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


def _distance(assembly: Assembly, texts: Run) -> float:
    """Mean of 1 - cosine between the embeddings of some texts and the base's."""
    assert texts.texts is not None
    batch = TextTensors.take(texts.texts, np.arange(len(texts.texts.embeddings)), CPU)
    assembly.student.train(False)
    with torch.no_grad():
        hidden = assembly.student.base_model(**batch.inputs)[0]
    return float(keeping_loss(hidden, batch.mask, batch.target))


def test_embeddings_stay_where_they_are_kept() -> None:
    usual = {"learning_rate": 1e-3, "dropout": 0.0, "epochs": 2.0}
    kept = assembled(parameters(**usual, embeddings=KEEPING | {"weight": 50.0}))
    free = assembled(parameters(**usual))
    assert _distance(kept, kept.run) == pytest.approx(0.0, abs=1e-5), "what is kept is what the base says"
    kept.student.train()
    for assembly in (kept, free):
        take_steps(assembly, 0)
    assert _distance(kept, kept.run) < 0.2 * _distance(free, kept.run)


def test_three_passages_are_kept_for_every_question() -> None:
    rows = table([(f"q{i}", f"c{i % 40}", None) for i in range(80)])
    chosen = choose_texts(rows, parameters(embeddings={"texts": 16})).to_pylist()
    assert sorted(text[0] for text in chosen) == ["c"] * 12 + ["q"] * 4
    assert len(set(chosen)) == 16
    assert choose_texts(rows, parameters(embeddings={"texts": 16})).to_pylist() == chosen
    assert choose_texts(rows, parameters(embeddings={"texts": 16}, seed=1)).to_pylist() != chosen


def test_a_few_texts_are_all_kept() -> None:
    rows = table([("q", "c1", None), ("q", "c2", None), ("c2", "c1", None)])
    assert sorted(choose_texts(rows, parameters()).to_pylist()) == ["c1", "c2", "q"]
    assert len(few_rows()) > 40
