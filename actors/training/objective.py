"""The model together with what it should become: one module whose forward gives the losses of a step."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.training.examples import PairTensors, TextTensors
from actors.training.losses import distillation_loss, keeping_loss, span_loss
from actors.training.parameters import TrainingParameters

LOSSES = ("loss", "span", "teacher", "embedding")
"""What `Objective.forward` returns, in order: the sum that is made smaller, and its parts."""


@dataclass(frozen=True)
class Teacher:
    """A model whose distributions are learnt."""

    model: PreTrainedModel
    uses_type_ids: bool


class Objective(nn.Module):
    """A student, and a teacher that does not learn."""

    def __init__(
        self, student: PreTrainedModel, uses_type_ids: bool, teacher: Teacher | None, parameters: TrainingParameters
    ) -> None:
        """Takes models that are on their device.

        Args:
            uses_type_ids: whether the student takes token types; a batch holds them where one of the models does.
        """
        super().__init__()
        self.student = student
        self._uses_type_ids = uses_type_ids
        # In a tuple, so that its weights are not this module's.
        self._teacher = (teacher,)
        self._settings = parameters

    def forward(self, pairs: PairTensors, texts: TextTensors | None) -> Tensor:
        """Losses of one batch, [4] float32 in the order of `LOSSES`."""
        student: Any = self.student
        logits = _logits(student, pairs, self._uses_type_ids)
        span = span_loss(*logits, pairs.allowed, pairs.first, pairs.last)
        taught = kept = torch.zeros_like(span)
        total = span
        if (teacher := self._teacher[0]) is not None:
            distillation = self._settings.distillation
            with torch.no_grad():
                theirs = _logits(teacher.model, pairs, teacher.uses_type_ids)
            taught = distillation_loss(logits, theirs, pairs.allowed, distillation.temperature)
            total = (1 - distillation.weight) * span + distillation.weight * taught
        if texts is not None:
            hidden = student.base_model(**texts.inputs)[0]
            kept = keeping_loss(hidden, texts.mask, texts.target)
            total = total + self._settings.embeddings.weight * kept
        return torch.stack([total, span.detach(), taught.detach(), kept.detach()])


def _logits(model: Any, pairs: PairTensors, uses_type_ids: bool) -> tuple[Tensor, Tensor]:
    inputs = {name: values for name, values in pairs.inputs.items() if uses_type_ids or name != "token_type_ids"}
    output = model(**inputs)
    return output.start_logits, output.end_logits
