"""The forward pass in PyTorch, on a CPU or a GPU."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from transformers import PreTrainedModel

from actors.arrays import Floats
from actors.backends.base import PassOutput
from actors.backends.device_errors import device_error
from actors.backends.device_memory import CudaMemory, DeviceMemory, HostMemory
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
        """Moves the model to its device and precision."""
        self._device = _device(parameters.device)
        threads = parameters.threads or torch.get_num_threads()
        # In that thread, since OpenMP keeps their number for every thread by itself: one that never set it has
        # OMP_NUM_THREADS, which Ray sets to 1, whatever torch says.
        self._thread = ThreadPoolExecutor(1, "forward", partial(torch.set_num_threads, threads))
        dtype = getattr(torch, parameters.dtype)
        self._model = model.train(False)
        torch.nn.Module.to(self._model, device=self._device, dtype=dtype)
        self._memory: DeviceMemory = CudaMemory(self._device) if self._device.type == "cuda" else HostMemory()
        self._encoder: torch.nn.Module = model.base_model
        self._last = _LastHidden()
        self._encoder.register_forward_hook(self._last.keep)

    @property
    def device(self) -> str:
        """As torch names it."""
        return str(self._device)

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
            return self._run(batch, want_spans, pool_weights, want_hidden)
        except (RuntimeError, MemoryError) as error:
            no_room = device_error(error)
            if not isinstance(no_room, OutOfMemory):
                raise
        finally:
            self._last.states = None
        # Not before here, with the error's traceback gone, are the activations of the failed pass free.
        self._memory.release()
        raise no_room

    def _run(self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool) -> PassOutput:
        module: Callable[..., object] = self._model if want_spans else self._encoder
        output = module(**model_inputs(batch, self._device))
        states = self._last.states
        start = end = pooled = None
        if want_spans:
            start, end = _to_host(output.start_logits), _to_host(output.end_logits)  # type: ignore[attr-defined]
        if pool_weights is not None and states is not None:
            weights = torch.from_numpy(pool_weights).to(self._device)
            pooled = _to_host(torch.bmm(weights.unsqueeze(1), states.float()).squeeze(1))
        hidden = _to_host(states) if want_hidden and states is not None else None
        return PassOutput(start, end, pooled, self._memory.peak(), hidden)


class _LastHidden:
    """The hidden states of the pass that runs.

    The model refers to it, and it does not refer to the backend: a circle of the three would keep the weights in memory
    until Python looks for circles, long after the backend is gone.
    """

    states: torch.Tensor | None = None

    def keep(self, module: torch.nn.Module, inputs: object, output: tuple[torch.Tensor, ...]) -> None:
        """A forward hook of the encoder."""
        self.states = output[0]


def model_inputs(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """What a model's forward takes of a batch, [n, S] int64 each, by the names of its arguments."""
    arrays = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "token_type_ids": batch.token_type_ids,
    }
    return {
        name: torch.from_numpy(array).to(device, non_blocking=True)
        for name, array in arrays.items()
        if array is not None
    }


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _to_host(tensor: torch.Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array.astype(np.float32, copy=False)
