"""The forward pass in PyTorch, on a CPU or a GPU."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from functools import partial

import torch
from transformers import PreTrainedModel

from actors.arrays import Floats
from actors.backends.base import BatchLayout, PassOutput, PassRequest, RanPass, SubmittedPass
from actors.backends.device_errors import device_error
from actors.backends.host_memory import DeviceMemory, HostMemory
from actors.backends.layer_output import ModelDepth
from actors.backends.precision import EXACT
from actors.backends.pytorch.cpu_linear import MakeProduct, in_bfloat16, multiplies_bfloat16
from actors.backends.pytorch.device_memory import CudaMemory
from actors.backends.pytorch.half_precision import computes_bfloat16
from actors.backends.pytorch.layer_reduction import depth_of, shared_copy, with_weights_of_attention
from actors.backends.pytorch.packed.packed_pass import packed_pass
from actors.backends.pytorch.padded_pass import PaddedPass
from actors.backends.pytorch.parity import lay_out_weights
from actors.backends.pytorch.prepared_pass import PassKind, PreparedPass
from actors.backends.pytorch.transfer import Timer, named_device, start_timer
from actors.batch import Batch
from actors.errors import ModelError, OutOfMemory
from actors.parameters import ModelParameters


def gpu_names() -> list[str]:
    """The GPUs that torch sees on this machine, as their makers call them."""
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


class TorchBackend:
    """A transformers model, with or without its QA head.

    One thread of its own makes all passes, whoever asks for them. Every thread that computes gets OpenMP workers of its
    own, and once these are more than the CPUs, GNU's OpenMP lets all of them sleep between two operations: a pass of
    31 ms took 45 ms in the second thread of a process.

    On a CPU that computes bfloat16 by itself, only the products of a bfloat16 model are bfloat16, and all else float32:
    that is faster, and nearer to float32.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        parameters: ModelParameters,
        searches_spans: bool | None = None,
        reload: Callable[[], PreTrainedModel] | None = None,
    ) -> None:
        """Moves the model to its device and type: float32 where `dtype` is not decided.

        Args:
            searches_spans: whether the device finds the best spans itself; None where it is none of the host's.
            reload: loads the model again for `with_layers`, so that a CPU, for which weights are laid out in copies,
                need not hold both. None keeps the model.
        """
        self._device = _device(parameters.device)
        self._threads = parameters.threads or torch.get_num_threads()
        # In that thread, since OpenMP keeps their number for every thread by itself: one that never set it has
        # OMP_NUM_THREADS, which Ray sets to 1, whatever torch says.
        self._thread = ThreadPoolExecutor(1, "forward", partial(torch.set_num_threads, self._threads))
        dtype = getattr(torch, parameters.dtype or EXACT)
        make = None
        if self._device.type == "cpu" and dtype is torch.bfloat16 and computes_bfloat16() and multiplies_bfloat16():
            dtype, make = torch.float32, in_bfloat16
        torch.nn.Module.to(model.train(False), device=self._device, dtype=dtype)
        self._hidden_size = int(model.config.hidden_size)
        self._memory: DeviceMemory = CudaMemory(self._device) if self._device.type == "cuda" else HostMemory()
        self._searches = self._device.type != "cpu" if searches_spans is None else searches_spans
        self._depth = depth_of(model)
        self._with_layers: TorchBackend | None = None
        self._dtype, self._make, self._reload = dtype, make, reload
        self._model = model if reload is None or self._device.type != "cpu" else None
        self._pass: PassKind = self._thread.submit(_fastest_pass, model, make).result()

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
        return self._hidden_size

    @property
    def depth(self) -> ModelDepth:
        """See `GivesLayers`."""
        if self._depth is None:
            raise ModelError(
                "the model's config does not say how many layers and heads it has; leave hidden, attention and "
                "attribution out of output.columns, and token_vectors.layers at last"
            )
        return self._depth

    def with_layers(self) -> "TorchBackend":
        """See `GivesLayers`; both share the thread. Where the model is not kept, weights are loaded once more."""
        if self._with_layers is None:
            # Not in the thread of the passes, for which others wait. OpenMP's workers of this thread end with it.
            with ThreadPoolExecutor(1, "layers", partial(torch.set_num_threads, self._threads)) as loading:
                made = loading.submit(self._pass_with_layers).result()
            self._with_layers = copy(self)
            self._with_layers._pass = made
        return self._with_layers

    def _pass_with_layers(self) -> PassKind:
        if self._model is not None:
            return PaddedPass(with_weights_of_attention(shared_copy(self._model)))
        if self._reload is None:
            raise ValueError("the model is neither kept nor to be loaded again")
        model = self._reload()
        torch.nn.Module.to(model.train(False), device=self._device, dtype=self._dtype)
        lay_out_weights(model, self._make)
        return PaddedPass(with_weights_of_attention(model))

    @property
    def memory_limit(self) -> int | None:
        """Bytes that are free for a pass; None where that cannot be told."""
        return self._memory.limit()

    def submit(self, request: PassRequest) -> SubmittedPass:
        """Hands a pass to the thread of the device; see `Backend.submit`."""
        if not self._searches and not (request.layers and request.layers.answer_rows):
            request = replace(request, searches=())
        try:
            prepared = self._pass.prepare(request)
        except Exception as error:
            # Pinned memory is asked of the device's driver, which may have none, or raise what a pass before did.
            return RanPass(error)
        launched = self._thread.submit(self._launch, prepared)
        self._thread.submit(self._memory.tidy)
        return _TorchPass(launched, prepared)

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        """Runs a pass, and waits for it; see `Backend.forward`."""
        return self.submit(PassRequest(batch, want_spans, pool_weights, want_hidden)).collect()

    @torch.inference_mode()
    def _launch(self, prepared: PreparedPass) -> "_Launched":
        self._memory.start()
        try:
            timer = start_timer(self._device)
            prepared.launch()
            timer.stop()
            return _Launched(timer, self._memory.peak())
        except (RuntimeError, MemoryError) as error:
            no_room = device_error(error)
            if not isinstance(no_room, OutOfMemory):
                raise
        # Not before here, with the error's traceback gone, are the activations of the failed pass free.
        self._memory.release()
        raise no_room


@dataclass(frozen=True)
class _Launched:
    timer: Timer
    peak_bytes: int | None


@dataclass(frozen=True)
class _TorchPass:
    """See `SubmittedPass`."""

    launched: Future[_Launched]
    prepared: PreparedPass

    @property
    def is_done(self) -> bool:
        if not self.launched.done():
            return False
        if self.launched.exception() is not None:
            return True
        try:
            return self.launched.result().timer.is_over
        except RuntimeError:
            # A device that is lost cannot even be asked; `collect` raises that where it is expected.
            return True

    def collect(self) -> PassOutput:
        launched = self.launched.result()
        seconds = launched.timer.seconds()
        return replace(self.prepared.read(), peak_bytes=launched.peak_bytes, seconds=seconds)


def _fastest_pass(model: PreTrainedModel, make: MakeProduct | None) -> PassKind:
    """In the thread of the passes, since what is faster is measured where `make` is None."""
    packed = packed_pass(model, make=make)
    if packed is not None:
        return packed
    lay_out_weights(model, make)
    return PaddedPass(model)


def _device(name: str) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    device = named_device(name)
    if device.type == "cuda" and not has_gpu:
        raise ModelError(
            f"model.device: {name}, but torch {torch.__version__} sees no GPU here; auto takes what there is"
        )
    return device
