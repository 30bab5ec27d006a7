"""The training loop of one worker: takes the steps of a run in order, from the first one that is still missing."""

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
    """Figures of one step on one worker."""

    number: int
    """From 0."""
    losses: npt.NDArray[np.float32]
    """[5] in the order of `objective.LOSSES`."""
    weight: float
    """Weight of the term that keeps embeddings; 0 where the run does not keep them."""
    windows: int
    tokens: int
    """Tokens of the windows, without padding."""


@dataclass(frozen=True)
class TrainingLoop:
    """Data, samplers and trainer of one worker."""

    pairs: Pairs
    texts: Texts | None
    trainer: Trainer
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
        texts = self._text_sampler()
        for number in range(first, self.total):
            chosen = share_of(windows.batch(number), self.rank, self.workers)
            pairs = PairTensors.take(self.pairs, chosen, self.device)
            weight = self.trainer.weight
            losses = self.trainer.step(number, pairs, self._text_batch(texts, number))
            yield Step(number, losses.cpu().numpy(), weight, len(chosen), int(lengths[chosen].sum()))

    def _text_sampler(self) -> StepSampler | None:
        if self.texts is None:
            return None
        lengths, settings = self.texts.lengths, self.parameters
        size = min(settings.embeddings.texts_per_step, len(lengths))
        return StepSampler(lengths, size, settings.bucket_batches, settings.seed + TEXTS_SEED)

    def _text_batch(self, sampler: StepSampler | None, number: int) -> TextTensors | None:
        if self.texts is None or sampler is None:
            return None
        # Every worker takes a batch of its own: a shared one may be too small to give every worker a text.
        chosen = sampler.batch(number * self.workers + self.rank)
        return TextTensors.take(self.texts, chosen, self.device)


def total_steps(windows: int, parameters: TrainingParameters) -> int:
    """Steps of a whole run."""
    if parameters.steps is not None:
        return parameters.steps
    return max(round(steps_of(windows, parameters.batch_size) * parameters.epochs), 1)
