"""The training objective: the model together with its loss terms, and the weight of the term that keeps embeddings."""

import math
from typing import Any

import torch
from torch import Tensor, distributed, nn
from transformers import PreTrainedModel

from actors.training.dataset import PairTensors, TextTensors
from actors.training.losses import distillation_loss, embedding_distance, span_loss, token_error
from actors.training.parameters import KeepingParameters, TrainingParameters

LOSSES = ("loss", "span", "teacher", "tokens", "distance")
"""What `Objective.forward` returns, in order: the loss that is minimised, and its terms."""

_TOKENS_SHARE = 0.1
"""Weight of the token error relative to the distance. The distance is what a run bounds; the token error gives each
token a gradient of its own."""


class Objective(nn.Module):
    """The student, with a frozen teacher and a frozen base; its forward pass gives the losses of a step."""

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel | None,
        base: nn.Module | None,
        parameters: TrainingParameters,
    ) -> None:
        """Takes models that are on their device already.

        Args:
            teacher: a model whose start and end distributions the student learns, in evaluation mode.
            base: the encoder whose embeddings are kept, in evaluation mode; None where embeddings are not kept.
        """
        super().__init__()
        self.student = student
        # In tuples, so that PyTorch does not count their weights among this module's parameters.
        self._teacher, self._base = (teacher,), (base,)
        self._settings = parameters

    def forward(self, pairs: PairTensors, texts: TextTensors | None, weight: float) -> Tensor:
        """Losses of one batch, [5] float32 in the order of `LOSSES`.

        Args:
            texts: None where embeddings are not kept.
            weight: of the term that keeps embeddings.
        """
        student: Any = self.student
        logits = _logits(student, pairs.inputs)
        span = span_loss(*logits, pairs.allowed, pairs.first, pairs.last)
        taught = tokens = distance = torch.zeros_like(span)
        total = span
        if (teacher := self._teacher[0]) is not None:
            distillation = self._settings.distillation
            if (read := pairs.teacher) is not None:
                with torch.no_grad():
                    theirs = read.distributions(*_logits(teacher, read.inputs), distillation.temperature)
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
    """Token vectors without dropout, whose noise alone would move embeddings by more than the allowed distance."""
    training = encoder.training
    encoder.train(False)
    hidden: Tensor = encoder(**inputs)[0]
    encoder.train(training)
    return hidden


def _logits(model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    output = model(**inputs)
    return output.start_logits, output.end_logits


_RATE = 0.01
"""Largest change of the weight's logarithm in a step."""
_SMALLEST, _LARGEST = 1.0, 80.0


class EmbeddingConstraint:
    """A bound on the distance of the embeddings from the base's; the weight of its loss term is a Lagrange multiplier.

    A fixed weight is wrong at both ends of a run: at a high learning rate the distance grows beyond the bound, and at
    a low one the term keeps the embeddings closer than was asked, at the cost of the answers.
    """

    def __init__(self, parameters: KeepingParameters) -> None:
        """Starts at `parameters.weight`; without a `parameters.distance` the weight is 0 and stays 0."""
        self._parameters = parameters
        self.weight = 0.0 if parameters.distance is None else parameters.weight

    def update(self, distance: Tensor, decay: float) -> None:
        """Raises or lowers the weight after a step. Collective: all workers of a run get the same weight.

        Args:
            distance: scalar, mean distance of the step's texts on this worker.
            decay: learning rate after the decay, as a share of its peak.
        """
        if self._parameters.distance is None:
            return
        allowed = self._parameters.distance + self._parameters.slack * decay
        excess = (_mean_over_workers(distance) - allowed) / allowed
        moved = self.weight * math.exp(_RATE * min(max(excess, -1.0), 1.0))
        self.weight = min(max(moved, _SMALLEST), _LARGEST)


def _mean_over_workers(value: Tensor) -> float:
    if distributed.is_available() and distributed.is_initialized():
        value = value.clone()
        distributed.all_reduce(value)
        value /= distributed.get_world_size()
    return float(value)
