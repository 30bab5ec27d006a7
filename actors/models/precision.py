"""Decides the precision of a model before it is loaded."""

from pathlib import Path

from actors.backends.base import find_runtime
from actors.backends.precision import EXACT, Precision
from actors.errors import ModelError
from actors.parameters import ModelParameters


def decided_precision(model: ModelParameters) -> Precision | None:
    """The precision that a config names by itself; None where it has to be found out, or the runtime be asked."""
    if model.dtype is not None:
        return Precision(model.dtype, "model.dtype")
    return Precision(EXACT, "model.precision: exact") if model.precision == "exact" else None


def choose_precision(folder: Path, model: ModelParameters, on_gpu: bool | None = None) -> Precision:
    """The precision of the model in a folder.

    Args:
        on_gpu: whether those who compute have GPUs; None where it is this process, and the model's device tells.

    Raises:
        ModelError: `model.precision: fast` of a runtime that computes in float32 only; or the model cannot be loaded,
            which happens only where a half precision has to be chosen.
    """
    decided, runtime = decided_precision(model), find_runtime(model.backend)
    if decided is not None:
        return decided
    if runtime.fast is None:
        if model.precision == "fast":
            raise ModelError(
                f"model.precision: fast asks for more than the runtime {runtime.name} can do, which knows float32 "
                "only; set exact or auto, or choose another model.backend"
            )
        return Precision(EXACT, f"the runtime {runtime.name} knows no other")
    has_gpu = runtime.fast.uses_gpu(model.device) if on_gpu is None else on_gpu
    if model.precision == "auto" and not has_gpu:
        return Precision(EXACT, "model.precision: auto, on CPUs")
    return runtime.fast.choose(folder, has_gpu)


def with_precision(folder: Path, model: ModelParameters, on_gpu: bool | None = None) -> ModelParameters:
    """The parameters with `dtype` decided, as a model is loaded.

    Args:
        on_gpu: as in `choose_precision`.

    Raises:
        ModelError: see `choose_precision`.
    """
    return model if model.dtype is not None else model.in_type(choose_precision(folder, model, on_gpu).dtype)
