"""The model together with what it should become: one module whose forward gives the losses of a step."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.training.examples import PairTensors, TextTensors
from actors.training.losses import distillation_loss, keeping_loss, span_loss
from actors.training.parameters import TrainingParameters

LOSSES = ("loss", "span", "teacher", "embedding")
"""What `Objective.forward` returns, in order: the sum that is made smaller, and its parts."""


class Objective(nn.Module):
    """A student, and a teacher that does not learn."""

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel | None, parameters: TrainingParameters):
        """Takes models that are on their device."""
        super().__init__()
        self.student = student
        # In a tuple, so that its weights are not this module's.
        self._teacher = (teacher,)
        self._settings = parameters

    def forward(self, pairs: PairTensors, texts: TextTensors | None) -> Tensor:
        """Losses of one batch, [4] float32 in the order of `LOSSES`."""
        student: Any = self.student
        output = student(**pairs.inputs)
        logits = output.start_logits, output.end_logits
        span = span_loss(*logits, pairs.allowed, pairs.first, pairs.last)
        taught = kept = torch.zeros_like(span)
        total = span
        if (teacher := self._teacher[0]) is not None:
            distillation = self._settings.distillation
            taught = distillation_loss(logits, _logits(teacher, pairs), pairs.allowed, distillation.temperature)
            total = (1 - distillation.weight) * span + distillation.weight * taught
        if texts is not None:
            hidden = student.base_model(**texts.inputs)[0]
            kept = keeping_loss(hidden, texts.mask, texts.target)
            total = total + self._settings.embeddings.weight * kept
        return torch.stack([total, span.detach(), taught.detach(), kept.detach()])


@torch.no_grad()
def _logits(teacher: Any, pairs: PairTensors) -> tuple[Tensor, Tensor]:
    output = teacher(**pairs.inputs)
    return output.start_logits, output.end_logits
