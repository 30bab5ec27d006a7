"""The forward pass in PyTorch, on a CPU or a GPU."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import torch
from transformers import PreTrainedModel

from actors.arrays import Floats
from actors.backends.base import BatchLayout, PassOutput
from actors.backends.device_errors import device_error
from actors.backends.device_memory import CudaMemory, DeviceMemory, HostMemory
from actors.backends.packed_pass import PackedPass, packed_pass
from actors.backends.padded_pass import PaddedPass
from actors.backends.precision import EXACT
from actors.batch import Batch
from actors.errors import OutOfMemory
from actors.parameters import ModelParameters


def gpu_names() -> list[str]:
    """The GPUs that torch sees on this machine, as their makers call them."""
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


class TorchBackend:
    """A transformers model, with or without its QA head.

    One thread of its own makes all passes, whoever asks for them. Every thread that computes gets OpenMP workers of its
    own, and once these are more than the CPUs, GNU's OpenMP lets all of them sleep between two operations: a pass of
    31 ms took 45 ms in the second thread of a process.
    """

    def __init__(self, model: PreTrainedModel, parameters: ModelParameters) -> None:
        """Moves the model to its device and type: float32 where `dtype` is not decided."""
        self._device = _device(parameters.device)
        threads = parameters.threads or torch.get_num_threads()
        # In that thread, since OpenMP keeps their number for every thread by itself: one that never set it has
        # OMP_NUM_THREADS, which Ray sets to 1, whatever torch says.
        self._thread = ThreadPoolExecutor(1, "forward", partial(torch.set_num_threads, threads))
        dtype = getattr(torch, parameters.dtype or EXACT)
        self._model = model.train(False)
        torch.nn.Module.to(self._model, device=self._device, dtype=dtype)
        self._memory: DeviceMemory = CudaMemory(self._device) if self._device.type == "cuda" else HostMemory()
        self._pass: PackedPass | PaddedPass = self._thread.submit(packed_pass, model).result() or PaddedPass(model)

    @property
    def device(self) -> str:
        """As torch names it."""
        return str(self._device)

    @property
    def layout(self) -> BatchLayout:
        """Packed where the kind of model is known to `PackedEncoder`, else padded."""
        return self._pass.layout

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        return int(self._model.config.hidden_size)

    @property
    def memory_limit(self) -> int | None:
        """Bytes that are free for a pass; None where that cannot be told."""
        return self._memory.limit()

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        """Runs the model; see `Backend.forward`."""
        output = self._thread.submit(self._forward, batch, want_spans, pool_weights, want_hidden).result()
        self._thread.submit(self._memory.tidy)
        return output

    @torch.inference_mode()
    def _forward(self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool) -> PassOutput:
        self._memory.start()
        try:
            output = self._pass.run(batch, want_spans, pool_weights, want_hidden)
            return replace(output, peak_bytes=self._memory.peak())
        except (RuntimeError, MemoryError) as error:
            no_room = device_error(error)
            if not isinstance(no_room, OutOfMemory):
                raise
        # Not before here, with the error's traceback gone, are the activations of the failed pass free.
        self._memory.release()
        raise no_room


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
