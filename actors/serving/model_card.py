"""The model card: what the service tells clients about its model."""

from pathlib import Path

from actors.backends.base import ModelOutput, find_runtime
from actors.backends.precision import EXACT
from actors.model_config import load_config
from actors.models.hub import find_model, fingerprint
from actors.models.loading import load_spec
from actors.models.names import public_name
from actors.models.precision import with_precision
from actors.models.runtime_choice import settled
from actors.parameters import ModelParameters
from actors.serving.types import ModelCard

ALL_OUTPUTS = frozenset({ModelOutput.LOGITS, ModelOutput.POOLED, ModelOutput.LAST_HIDDEN})
"""What a service may be asked for."""


def describe(folder: Path, model: ModelParameters, on_gpu: bool | None = None) -> ModelCard:
    """The card of the model in a folder; its weights are loaded only where a half precision has to be chosen.

    Args:
        on_gpu: whether those who run it have GPUs; None where it is this process, and the model's device tells.

    Raises:
        ModelError: it cannot be read.
    """
    spec, config, runtime = load_spec(folder), load_config(folder), find_runtime(model.backend)
    architecture = (config.architectures or ["unknown"])[0]
    return ModelCard(
        name=public_name(model.name),
        fingerprint=fingerprint(folder, model.backend),
        architecture=architecture,
        dtype=with_precision(folder, model, on_gpu).dtype or EXACT,
        max_length=spec.max_length,
        hidden_size=int(config.hidden_size),
        answers=architecture.endswith("ForQuestionAnswering") and ModelOutput.LOGITS in runtime.outputs,
        backend=model.backend,
    )


def describe_named(model: ModelParameters, on_gpu: bool | None = None) -> ModelCard:
    """As `describe`, of a model that is downloaded first where it is not local, and whose runtime may be `auto`.

    Raises:
        ModelError: it cannot be found or read.
    """
    model = settled(model, ALL_OUTPUTS, on_gpu)
    return describe(find_model(model), model, on_gpu)
