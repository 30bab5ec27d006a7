"""The loss terms and their sum, and the weight of keeping embeddings, which all workers of a run agree on."""

import math
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed
from transformers import PreTrainedModel

from actors.backends.pytorch.torch_weights import load_model
from actors.models.loading import load_spec
from actors.training.dataset import Pairs, PairTensors, Texts, TextTensors
from actors.training.losses import distillation_loss, embedding_distance, span_loss, token_error
from actors.training.objective import LOSSES, EmbeddingConstraint, Objective
from actors.training.parameters import KeepingParameters, TrainingParameters
from actors.training.setup import answer_places
from tests.actors.helpers import strings
from tests.actors.training.helpers import BERT, CPU, DISTILBERT, QA, few_rows, parameters


def _quiet(folder: Path) -> PreTrainedModel:
    model = load_model(folder, with_qa_head=True)
    model.train(False)
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def student() -> PreTrainedModel:
    return _quiet(DISTILBERT)


@pytest.fixture(scope="module")
def pairs() -> PairTensors:
    """For a student without token types, and a teacher that takes them and has other tokens."""
    examples = few_rows()
    made, _ = Pairs.make(load_spec(DISTILBERT), QA, examples, *answer_places(examples), load_spec(BERT))
    return PairTensors.take(made, np.arange(0, 40, 5), CPU)


@pytest.fixture(scope="module")
def texts() -> TextTensors:
    made = Texts.make(load_spec(DISTILBERT), strings(["Ada keeps three goats.", "Lisbon"]), 32)
    return TextTensors.take(made, np.arange(2), CPU)


def _forward(
    objective: Objective, pairs: PairTensors, texts: TextTensors | None = None, weight: float = 0.0
) -> dict[str, float]:
    with torch.no_grad():
        return dict(zip(LOSSES, objective(pairs, texts, weight).tolist(), strict=True))


def _moved() -> Any:
    """An encoder that is not the student's."""
    model = _quiet(DISTILBERT)
    torch.manual_seed(6)
    for weight in model.parameters():
        weight.add_(0.05 * torch.randn_like(weight))
    encoder: Any = model.base_model
    return encoder


def test_without_teacher_and_texts_it_is_the_span_loss(student: PreTrainedModel, pairs: PairTensors) -> None:
    found = _forward(Objective(student, None, None, TrainingParameters()), pairs)
    output = student(**pairs.inputs)
    expected = span_loss(output.start_logits, output.end_logits, pairs.allowed, pairs.first, pairs.last).item()
    assert found == {"loss": expected, "span": expected, "teacher": 0.0, "tokens": 0.0, "distance": 0.0}


def test_the_parts_are_mixed_by_their_weights(student: PreTrainedModel, pairs: PairTensors, texts: TextTensors) -> None:
    teacher, base, read = _quiet(BERT), _moved(), pairs.teacher
    assert read is not None
    chosen = parameters(distillation={"weight": 0.3, "temperature": 3.0})
    found = _forward(Objective(student, teacher, base, chosen), pairs, texts, 7.0)
    theirs, ours = teacher(**read.inputs), student(**pairs.inputs)
    distributions = read.distributions(theirs.start_logits, theirs.end_logits, 3.0)
    taught = distillation_loss((ours.start_logits, ours.end_logits), distributions, pairs.allowed, 3.0)
    assert found["teacher"] == pytest.approx(float(taught))
    vectors = student.base_model(**texts.inputs)[0], base(**texts.inputs)[0], texts.mask
    assert found["tokens"] == pytest.approx(float(token_error(*vectors)))
    assert found["distance"] == pytest.approx(float(embedding_distance(*vectors)))
    assert min(found["tokens"], found["distance"]) > 1e-3
    kept = 0.1 * found["tokens"] + found["distance"]
    assert found["loss"] == pytest.approx(0.7 * found["span"] + 0.3 * found["teacher"] + 7.0 * kept)


def test_token_types_go_to_the_model_that_takes_them(pairs: PairTensors) -> None:
    assert pairs.teacher is not None
    assert "token_type_ids" not in pairs.inputs
    assert int(pairs.teacher.inputs["token_type_ids"].max()) == 1


def test_without_a_word_of_the_teacher_the_labels_keep_their_share(
    student: PreTrainedModel, pairs: PairTensors
) -> None:
    """As a batch of windows that the teacher cannot read: the labels weigh what they weigh in any other batch."""
    chosen = parameters(distillation={"weight": 0.3})
    found = _forward(Objective(student, _quiet(BERT), None, chosen), replace(pairs, teacher=None))
    assert found["teacher"] == 0.0
    assert found["loss"] == pytest.approx(0.7 * found["span"])


def test_teacher_and_base_do_not_learn(pairs: PairTensors, texts: TextTensors) -> None:
    student, teacher, base = (load_model(folder, with_qa_head=True) for folder in (DISTILBERT, BERT, DISTILBERT))
    objective = Objective(student, teacher, base.base_model, TrainingParameters())
    assert {id(weight) for weight in objective.parameters()} == {id(weight) for weight in student.parameters()}
    assert objective.state_dict().keys() == {f"student.{name}" for name in student.state_dict()}
    objective(pairs, texts, 1.0)[0].backward()
    assert all(weight.grad is not None for weight in student.parameters())
    assert all(weight.grad is None for model in (teacher, base) for weight in model.parameters())


def _after(distance: float, steps: int, **settings: float) -> float:
    constraint = EmbeddingConstraint(KeepingParameters.model_validate({"distance": 0.1, "slack": 0.0} | settings))
    for _ in range(steps):
        constraint.update(torch.tensor(distance), 1.0)
    return constraint.weight


def test_it_moves_by_the_excess_as_a_share_of_what_is_allowed() -> None:
    assert _after(0.1, 5) == pytest.approx(10.0)
    assert _after(0.15, 1) == pytest.approx(10.0 * math.exp(0.005))
    assert _after(0.075, 1) == pytest.approx(10.0 * math.exp(-0.0025))
    assert _after(0.075, 1, slack=0.05) == pytest.approx(10.0 * math.exp(-0.005))
    assert _after(0.0, 3) == pytest.approx(10.0 * math.exp(-0.03))


def test_it_moves_by_a_hundredth_at_most_and_within_bounds() -> None:
    assert _after(1.9, 1) == pytest.approx(10.0 * math.exp(0.01))
    assert _after(1.9, 207) == pytest.approx(10.0 * math.exp(2.07))
    assert _after(1.9, 300) == 80.0
    assert _after(0.0, 300) == 1.0


def test_without_a_distance_nothing_is_kept() -> None:
    constraint = EmbeddingConstraint(KeepingParameters())
    constraint.update(torch.tensor(1.0), 1.0)
    assert constraint.weight == 0.0


def _worker(rank: int, meeting: Path) -> float:
    """Workers whose texts are at 0.1 and 0.2: together they are at what is allowed."""
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        constraint = EmbeddingConstraint(KeepingParameters(distance=0.1, slack=0.1, weight=20.0))
        distance = torch.tensor(0.1 * (rank + 1))
        constraint.update(distance, 0.5)
        assert float(distance) == pytest.approx(0.1 * (rank + 1)), "what the step found is left as it is"
        return constraint.weight
    finally:
        distributed.destroy_process_group()


def test_workers_have_one_weight(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        other = pool.apply_async(_worker, (1, tmp_path / "meeting"))
        ours, theirs = _worker(0, tmp_path / "meeting"), other.get(120)
    assert ours == theirs == pytest.approx(20.0)
