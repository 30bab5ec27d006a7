"""The PyTorch runtime as the registry knows it; torch is imported when a model is loaded."""

from pathlib import Path

from actors.backends.base import TRANSFORMERS_WEIGHTS, Backend, ModelOutput, Runtime
from actors.parameters import ModelParameters


def _load(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    # Here and not above: torch takes seconds and hundreds of MB, and fingerprints are computed without it.
    from actors.backends.torch_backend import TorchBackend
    from actors.backends.torch_weights import load_model

    return TorchBackend(load_model(folder, with_qa_head), model)


RUNTIME = Runtime(
    name="torch",
    load=_load,
    weights=TRANSFORMERS_WEIGHTS,
    outputs=frozenset({ModelOutput.LOGITS, ModelOutput.POOLED, ModelOutput.LAST_HIDDEN}),
)
