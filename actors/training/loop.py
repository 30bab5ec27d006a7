"""A training run on one of its workers: all steps in order, from whichever it starts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from actors.training.dataset import Pairs, PairTensors, Texts, TextTensors
from actors.training.embedding_texts import TEXTS_SEED
from actors.training.parameters import TrainingParameters
from actors.training.sampler import StepSampler, share_of, steps_of
from actors.training.trainer import Trainer


@dataclass(frozen=True)
class Step:
    """What one step did, on one worker."""

    number: int
    """From 0."""
    losses: npt.NDArray[np.float32]
    """[5] in the order of `objective.LOSSES`."""
    weight: float
    """Of keeping the embeddings; 0 where they are let go."""
    windows: int
    tokens: int
    """Of the windows, without padding."""


@dataclass(frozen=True)
class TrainingLoop:
    """Data, order and learner of one worker."""

    pairs: Pairs
    texts: Texts | None
    learner: Trainer
    parameters: TrainingParameters
    device: torch.device
    rank: int
    workers: int

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return total_steps(len(self.pairs.lengths), self.parameters)

    def steps(self, first: int) -> Iterator[Step]:
        """Takes the steps from `first` to the last.

        Raises:
            ModelError: the loss is not a number.
        """
        lengths, settings = self.pairs.lengths, self.parameters
        windows = StepSampler(lengths, settings.batch_size, settings.bucket_batches, settings.seed)
        texts = self._text_order()
        for number in range(first, self.total):
            chosen = share_of(windows.batch(number), self.rank, self.workers)
            pairs = PairTensors.take(self.pairs, chosen, self.device)
            weight = self.learner.weight
            losses = self.learner.step(number, pairs, self._texts(texts, number))
            yield Step(number, losses.cpu().numpy(), weight, len(chosen), int(lengths[chosen].sum()))

    def _text_order(self) -> StepSampler | None:
        if self.texts is None:
            return None
        lengths, settings = self.texts.lengths, self.parameters
        size = min(settings.embeddings.texts_per_step, len(lengths))
        return StepSampler(lengths, size, settings.bucket_batches, settings.seed + TEXTS_SEED)

    def _texts(self, order: StepSampler | None, number: int) -> TextTensors | None:
        if self.texts is None or order is None:
            return None
        # Every worker takes a batch of its own: one that is split may leave a worker without any.
        chosen = order.batch(number * self.workers + self.rank)
        return TextTensors.take(self.texts, chosen, self.device)


def total_steps(windows: int, parameters: TrainingParameters) -> int:
    """Steps of a whole run."""
    return max(round(steps_of(windows, parameters.batch_size) * parameters.epochs), 1)
