"""The floor under the time of forward passes: their arithmetic at the speed of a large matrix product."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from actors.arrays import Ints, Longs
from actors.model_config import load_config

_SIDE = 2048
_SECONDS = 0.5


@dataclass(frozen=True)
class Shape:
    """What decides the arithmetic of a forward pass."""

    layers: int
    dim: int

    @classmethod
    def of_folder(cls, folder: Path) -> "Shape":
        """That of a model whose feed-forward layers are four times as wide as its hidden states.

        Raises:
            ModelError: the folder holds no model.
        """
        config = load_config(folder)
        return cls(int(config.num_hidden_layers), int(config.hidden_size))

    def flops(self, lengths: Ints | Longs) -> float:
        """Multiply-adds of windows without padding, times two: projections, feed-forward, attention."""
        tokens, squares = float(lengths.sum()), float((lengths.astype(np.float64) ** 2).sum())
        return self.layers * (24 * self.dim**2 * tokens + 4 * self.dim * squares)


def sgemm_flops_per_second() -> float:
    """The speed of a large float32 matrix product on the threads that torch uses."""
    left, right = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    torch.mm(left, right)
    started, products = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        torch.mm(left, right)
        products += 1
    return products * 2 * _SIDE**3 / (time.perf_counter() - started)
