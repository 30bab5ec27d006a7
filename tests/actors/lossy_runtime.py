"""A runtime of another package whose device is lost as often as a file says: as CUDA is, in the middle of a pass."""

import fcntl
import os
from pathlib import Path

from actors.arrays import Floats
from actors.backends.base import Backend, BatchLayout, PassOutput, Runtime, SynchronousBackend
from actors.backends.null import RUNTIME as NULL
from actors.batch import Batch
from actors.parameters import ModelParameters

LOSSES, POISON, BROKEN, LOADS = "losses", "poison", "broken", "loads"
"""Files in the model's folder: how many more passes lose the device; the id of a token at which it is lost every time;
there while no model can be loaded onto it; the processes that loaded a model, a line each."""
MESSAGE = (
    "CUDA error: an illegal memory access was encountered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call.\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
)


class LossyBackend(SynchronousBackend):
    """The null runtime's numbers, from a device that may be lost; then every pass fails, until the process ends."""

    device, memory_limit, layout = "cpu", None, BatchLayout.PADDED

    def __init__(self, inner: Backend, folder: Path) -> None:
        self._inner = inner
        self._losses, self._poison = folder / LOSSES, folder / POISON
        self._lost = False

    @property
    def hidden_size(self) -> int:
        return self._inner.hidden_size

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        is_poison = self._poison.exists() and (batch.input_ids == int(self._poison.read_text())).any()
        if self._lost or is_poison or take_one(self._losses):
            self._lost = True
            raise RuntimeError(MESSAGE)
        return self._inner.forward(batch, want_spans, pool_weights, want_hidden)


def take_one(path: Path) -> bool:
    """Takes one from the number in a file, for one of several processes; False where nothing is left."""
    if not path.exists():
        return False
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        left = int(file.read() or 0)
        if left <= 0:
            return False
        file.seek(0)
        file.write(str(left - 1).ljust(20))
        return True


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> LossyBackend:
    with (folder / LOADS).open("a") as loads:
        loads.write(f"{os.getpid()}\n")
    if (folder / BROKEN).exists():
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")
    return LossyBackend(NULL.load(folder, model, with_qa_head), folder)


RUNTIME = Runtime("lossy", _load, weights=NULL.weights, outputs=NULL.outputs, dtypes=NULL.dtypes)
