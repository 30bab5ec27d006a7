"""A pass of torch in its stages: the host prepares it, the device computes it, the host reads what came back."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from actors.backends.base import BatchLayout, PassOutput, PassRequest
from actors.backends.pytorch.layer_reduction import LayerResults
from actors.backends.pytorch.span_search import FoundSpans


@dataclass
class HostResults:
    """What comes back from the device: tensors of the host that are filled once the device has come so far."""

    start: Tensor | None = None
    end: Tensor | None = None
    pooled: Tensor | None = None
    hidden: Tensor | None = None
    found: FoundSpans | None = None
    maxima: Tensor | None = None
    layers: LayerResults | None = None


class PreparedPass(Protocol):
    """A pass whose arrays are there."""

    def launch(self) -> None:
        """Tells the device what to compute; on a GPU it returns before that is done. Called in the device's thread."""
        ...

    def read(self) -> PassOutput:
        """What came back, once the device is done; without peak and time."""
        ...


class PassKind(Protocol):
    """How a model computes a pass."""

    @property
    def layout(self) -> BatchLayout:
        """How it lays out the windows of a batch."""
        ...

    def prepare(self, request: PassRequest) -> PreparedPass:
        """Makes the arrays that the device takes. Several threads may call at once."""
        ...


@torch.inference_mode()
def run(kind: PassKind, request: PassRequest, device: torch.device) -> PassOutput:
    """A pass from its beginning to its end."""
    prepared = kind.prepare(request)
    prepared.launch()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return prepared.read()
