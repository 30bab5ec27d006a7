"""The floor under the time of forward passes: their arithmetic at the speed of a large matrix product."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from actors.arrays import Ints, Longs
from actors.backends.pytorch.cpu_linear import fastest
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
    """The speed of a large float32 matrix product, as torch multiplies matrices, on the threads that torch uses."""
    left, right = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    return _products_per_second(lambda: torch.mm(left, right)) * 2 * _SIDE**3


@torch.inference_mode()
def fastest_flops_per_second() -> float:
    """The speed of a large float32 product in the fastest way that the packed pass knows: see `cpu_linear`."""
    linear, states = nn.Linear(_SIDE, _SIDE), torch.randn(_SIDE // 2, _SIDE)
    product = fastest(linear)(linear, None)
    return _products_per_second(lambda: product(states)) * _SIDE**3


def _products_per_second(multiply: Callable[[], object]) -> float:
    multiply()
    started, products = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        multiply()
        products += 1
    return products / (time.perf_counter() - started)
