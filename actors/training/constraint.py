"""The distance that embeddings may have from the base's, as a constraint whose weight finds itself."""

import math

from torch import Tensor, distributed

from actors.training.parameters import KeepingParameters

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
