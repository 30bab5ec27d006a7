"""The trainer: AdamW steps with gradient clipping and a learning rate schedule, and the state that a resume needs."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.errors import ModelError
from actors.training.dataset import PairTensors, TextTensors
from actors.training.objective import LOSSES, EmbeddingConstraint
from actors.training.parameters import TrainingParameters

_DISTANCE = LOSSES.index("distance")
# Added to the seed per rank. Odd and large, since the CPU generator uses only 32 bits of a seed.
_RANKS_APART = 0x9E3779B1


class Trainer:
    """Takes optimizer steps. Apart from the weights, nothing but `state` is carried from one step to the next."""

    def __init__(
        self, objective: nn.Module, parameters: TrainingParameters, steps: int, device: torch.device, rank: int = 0
    ) -> None:
        """Takes an `Objective` that is on its device already, wrapped in DistributedDataParallel or not.

        Args:
            steps: of the whole run; the learning rate is zero after the last.
            rank: of this worker among several.
        """
        self._objective = objective
        self._parameters = parameters
        self._steps = steps
        self._device = device
        self._rank = rank
        self._constraint = EmbeddingConstraint(parameters.embeddings)
        self._mean = WeightMean(objective, steps, parameters.average_last)
        self._optimizer = torch.optim.AdamW(_groups(objective, parameters), lr=parameters.learning_rate, fused=True)

    @property
    def weight(self) -> float:
        """Weight of the term that keeps embeddings, in the next step; 0 where they are not kept."""
        return self._constraint.weight

    def step(self, number: int, pairs: PairTensors, texts: TextTensors | None) -> Tensor:
        """Step `number` of the run, from 0; returns the detached losses, [5] as `Objective.forward`.

        After the last step the weights are those of the model that comes out: their mean over the last steps, where
        `average_last` asks for one.

        Raises:
            ModelError: the loss is not a number.
        """
        # Dropout depends on the step and the rank only, so a resumed run draws the same masks.
        torch.manual_seed(self._parameters.seed * 1_000_003 + number + self._rank * _RANKS_APART)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate_at(number, self._steps, self._parameters)
        with _autocast(self._device):
            losses = self._objective(pairs, texts, self.weight)
        losses[0].backward()
        norm = nn.utils.clip_grad_norm_(self._objective.parameters(), self._parameters.clip)
        if not torch.isfinite(norm):
            raise ModelError(
                f"the loss is not a number at step {number:,}; lower training.learning_rate "
                f"({self._parameters.learning_rate:g}) or lengthen training.warmup_steps, and begin anew"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._mean.take(number)
        detached: Tensor = losses.detach()
        self._constraint.update(detached[_DISTANCE], decay_at(number, self._steps, self._parameters))
        return detached

    def state(self) -> dict[str, Any]:
        """The optimizer's state, the weight of keeping the embeddings, and the mean of the weights so far."""
        return {"optimizer": self._optimizer.state_dict(), "weight": self.weight, "mean": self._mean.weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores a `state`; one from before there were means of weights has none."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._constraint.weight = float(state["weight"])
        self._mean.weights = [mean.to(self._device) for mean in state.get("mean", [])]


class WeightMean:
    """The mean of the weights that learn, over the last steps of a run."""

    def __init__(self, objective: nn.Module, steps: int, share: float) -> None:
        """Of the last `share` of so many steps, at least one of them where the share is not 0."""
        self._learning = [weight for weight in objective.parameters() if weight.requires_grad]
        self._first, self._last = steps - math.ceil(steps * share), steps - 1
        self.weights: list[Tensor] = []
        """In the order of the module's parameters; empty before the first step that counts."""

    @torch.no_grad()
    def take(self, number: int) -> None:
        """Counts the weights after step `number`, if it is among the last; after the very last they become the mean."""
        if number < self._first:
            return
        if number == self._first:
            self.weights = [weight.detach().clone() for weight in self._learning]
        else:
            for mean, weight in zip(self.weights, self._learning, strict=True):
                mean.lerp_(weight, 1 / (number - self._first + 1))
        if number == self._last:
            for weight, mean in zip(self._learning, self.weights, strict=True):
                weight.copy_(mean)


def learning_rate_at(step: int, steps: int, parameters: TrainingParameters) -> float:
    """Linear warm-up to the peak, linear decay to zero."""
    warmup = _warmup(steps, parameters)
    rise = (step + 1) / warmup if step < warmup else 1.0
    return parameters.learning_rate * rise * decay_at(step, steps, parameters)


def decay_at(step: int, steps: int, parameters: TrainingParameters) -> float:
    """Share of its peak that the decay leaves of the learning rate: 1 during warm-up."""
    return min((steps - step) / max(steps - _warmup(steps, parameters), 1), 1.0)


def _warmup(steps: int, parameters: TrainingParameters) -> int:
    return min(parameters.warmup_steps, steps // 10)


def freeze(model: PreTrainedModel, parameters: TrainingParameters) -> None:
    """Freezes the word embeddings where `freeze_word_embeddings` is set."""
    words = model.get_input_embeddings().weight
    for weight in model.parameters():
        weight.requires_grad = not (parameters.freeze_word_embeddings and weight is words)


def set_dropout(model: nn.Module, parameters: TrainingParameters) -> None:
    """Sets the rate of every dropout layer, where `dropout` is set."""
    for module in model.modules():
        if isinstance(module, nn.Dropout) and parameters.dropout is not None:
            module.p = parameters.dropout


def _groups(objective: nn.Module, parameters: TrainingParameters) -> list[dict[str, Any]]:
    learning = [weight for weight in objective.parameters() if weight.requires_grad]
    # Weights of one dimension are biases and norms.
    return [
        {"params": [w for w in learning if w.ndim > 1], "weight_decay": parameters.weight_decay},
        {"params": [w for w in learning if w.ndim <= 1], "weight_decay": 0.0},
    ]


def _autocast(device: torch.device) -> AbstractContextManager[object]:
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()
