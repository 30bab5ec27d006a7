"""The PyTorch runtime as the registry knows it; torch is imported when a model is loaded."""

import logging
from functools import partial
from pathlib import Path

from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend, ModelOutput, Runtime
from actors.backends.precision import EXACT, FastPrecision, Precision
from actors.parameters import ModelParameters

_LOG = logging.getLogger("spanmill.model")


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    # Here and not above: torch takes seconds and hundreds of MB, and fingerprints are computed without it.
    from actors.backends.pytorch.half_precision import is_slow_here, uses_gpu
    from actors.backends.pytorch.torch_backend import TorchBackend
    from actors.backends.pytorch.torch_weights import load_model

    dtype = model.dtype or EXACT
    # An actor without a GPU of its own is told "cpu"; so is one whose job was begun where there were some.
    if not uses_gpu(model.device) and is_slow_here(dtype):
        _LOG.warning(
            "on this CPU %s may take many times as long as float32; use machines with GPUs and a torch with CUDA, or "
            "begin a job with model.precision: exact",
            dtype,
        )
    load = partial(load_model, folder, with_qa_head)
    return TorchBackend(load(), model, reload=load)


def _choose(folder: Path, on_gpu: bool) -> Precision:
    from actors.backends.pytorch.half_precision import choose_half

    return choose_half(folder, on_gpu)


def _uses_gpu(device: str) -> bool:
    from actors.backends.pytorch.half_precision import uses_gpu

    return uses_gpu(device)


RUNTIME = Runtime(
    name="torch",
    load=_load,
    weights=TRANSFORMERS_WEIGHTS,
    outputs=frozenset(ModelOutput),
    fast=FastPrecision(_uses_gpu, _choose),
    dtypes=frozenset({EXACT, "float16", "bfloat16"}),
)
