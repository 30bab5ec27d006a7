"""How much there is to compute in the forward passes of an encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from actors.arrays import Ints, Longs
from actors.model_config import load_config


@dataclass(frozen=True)
class Shape:
    """What decides the arithmetic of a forward pass."""

    layers: int
    dim: int
    inner: int
    """Width of the feed-forward layers."""

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """That of a model folder.

        Raises:
            ModelError: the folder holds no model.
        """
        return cls.of_config(load_config(folder))

    @classmethod
    def of_config(cls, config: Any) -> Self:
        """That of a transformers config; without a width of its own, the feed-forward layers are four times as wide."""
        dim = int(config.hidden_size)
        inner = getattr(config, "intermediate_size", None) or getattr(config, "hidden_dim", None) or 4 * dim
        return cls(int(config.num_hidden_layers), dim, int(inner))

    def flops(self, lengths: Ints | Longs) -> float:
        """Multiply-adds of windows of these lengths, [W], without padding, times two: projections, feed-forward,
        attention.
        """
        tokens, squares = float(lengths.sum()), float((lengths.astype(np.float64) ** 2).sum())
        return self.layers * ((8 * self.dim**2 + 4 * self.dim * self.inner) * tokens + 4 * self.dim * squares)
