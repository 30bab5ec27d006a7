"""The precision of a loaded model: what its numbers are, why, and how a runtime says what is fast for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EXACT = "float32"
"""In which a batch never changes an answer."""


@dataclass(frozen=True)
class Precision:
    """What the weights and activations of a model are."""

    dtype: str
    """float32, float16, bfloat16, or what else a runtime computes in."""
    reason: str
    """Why, for people."""

    @property
    def is_exact(self) -> bool:
        """Whether it is float32."""
        return self.dtype == EXACT

    def __str__(self) -> str:
        return f"{self.dtype} ({self.reason})"


@dataclass(frozen=True)
class FastPrecision:
    """What a runtime that computes in more than float32 is asked about `model.precision: fast`."""

    uses_gpu: Callable[[str], bool]
    """Whether a model with this value of `model.device` computes on a GPU in this process."""
    choose: Callable[[Path, bool], Precision]
    """The fastest precision of the model in a folder that can be answered for, on GPUs or on CPUs such as this
    machine's. The same model gives the same on every machine of a cluster, with or without a GPU of its own."""
