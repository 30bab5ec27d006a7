"""The training objective: the model together with its loss terms, and the weight of the term that keeps embeddings."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from transformers import PreTrainedModel

from actors.training.dataset import PairTensors, TextTensors
from actors.training.losses import distillation_loss, embedding_distance, span_loss, token_error
from actors.training.parameters import KeepingParameters, TrainingParameters

LOSSES = ("loss", "span", "teacher", "tokens", "distance")
"""What `Objective.forward` returns, in order: the sum that is made smaller, and its parts."""

_TOKENS_SHARE = 0.1
"""Of the token error, beside the distance: it tells every token where to go, and the distance what is asked for."""


@dataclass(frozen=True)
class Teacher:
    """A model whose distributions are learnt."""

    model: PreTrainedModel
    uses_type_ids: bool


class Objective(nn.Module):
    """A student, and a teacher and a base that do not learn."""

    def __init__(
        self,
        student: PreTrainedModel,
        uses_type_ids: bool,
        teacher: Teacher | None,
        base: nn.Module | None,
        parameters: TrainingParameters,
    ) -> None:
        """Takes models that are on their device.

        Args:
            uses_type_ids: whether the student takes token types; a batch holds them where one of the models does.
            base: the encoder whose embeddings are kept, in evaluation mode; None where they are let go.
        """
        super().__init__()
        self.student = student
        self._uses_type_ids = uses_type_ids
        # In tuples, so that their weights are not this module's.
        self._teacher, self._base = (teacher,), (base,)
        self._settings = parameters

    def forward(self, pairs: PairTensors, texts: TextTensors | None, weight: float) -> Tensor:
        """Losses of one batch, [5] float32 in the order of `LOSSES`.

        Args:
            texts: None where the embeddings are let go.
            weight: of keeping the embeddings.
        """
        student: Any = self.student
        logits = _logits(student, pairs, self._uses_type_ids)
        span = span_loss(*logits, pairs.allowed, pairs.first, pairs.last)
        taught = tokens = distance = torch.zeros_like(span)
        total = span
        if (teacher := self._teacher[0]) is not None:
            distillation = self._settings.distillation
            with torch.no_grad():
                theirs = _logits(teacher.model, pairs, teacher.uses_type_ids)
            taught = distillation_loss(logits, theirs, pairs.allowed, distillation.temperature)
            total = (1 - distillation.weight) * span + distillation.weight * taught
        if texts is not None and (base := self._base[0]) is not None:
            hidden = _without_dropout(student.base_model, texts.inputs)
            with torch.no_grad():
                kept = base(**texts.inputs)[0]
            tokens, distance = (loss(hidden, kept, texts.mask) for loss in (token_error, embedding_distance))
            total = total + weight * (_TOKENS_SHARE * tokens + distance)
        return torch.stack([total, *(part.detach() for part in (span, taught, tokens, distance))])


def _without_dropout(encoder: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Token vectors as they are when texts are embedded: the noise of dropout alone is farther off than is allowed."""
    training = encoder.training
    encoder.train(False)
    hidden: Tensor = encoder(**inputs)[0]
    encoder.train(training)
    return hidden


def _logits(model: Any, pairs: PairTensors, uses_type_ids: bool) -> tuple[Tensor, Tensor]:
    inputs = {name: values for name, values in pairs.inputs.items() if uses_type_ids or name != "token_type_ids"}
    output = model(**inputs)
    return output.start_logits, output.end_logits


_RATE = 0.01
"""Largest change of the weight's logarithm in a step."""
_SMALLEST, _LARGEST = 1.0, 80.0


class EmbeddingConstraint:
    """Holds the weight of keeping the embeddings, a Lagrange multiplier.

    A fixed weight is wrong at both ends of a run: it keeps too little at a high learning rate, and at a low one more
    than was asked, at the cost of the answers.
    """

    def __init__(self, parameters: KeepingParameters) -> None:
        """Begins with the weight of the parameters; where they name no distance, it is 0 and stays it."""
        self._parameters = parameters
        self.weight = 0.0 if parameters.distance is None else parameters.weight

    def follow(self, found: Tensor, decay: float) -> None:
        """Moves the weight by what a step found; all workers of a run call it together, and have the same weight.

        Args:
            found: scalar, the distance on this worker.
            decay: share of its peak that is left of the learning rate.
        """
        if self._parameters.distance is None:
            return
        allowed = self._parameters.distance + self._parameters.slack * decay
        excess = (_mean_over_workers(found) - allowed) / allowed
        moved = self.weight * math.exp(_RATE * min(max(excess, -1.0), 1.0))
        self.weight = min(max(moved, _SMALLEST), _LARGEST)


def _mean_over_workers(value: Tensor) -> float:
    if distributed.is_available() and distributed.is_initialized():
        value = value.clone()
        distributed.all_reduce(value)
        value /= distributed.get_world_size()
    return float(value)
