"""The model card: what the service tells clients about its model."""

from pathlib import Path

from actors.backends.base import ModelOutput, find_runtime
from actors.model_config import load_config
from actors.models.hub import find_model, fingerprint
from actors.models.loading import load_spec
from actors.models.names import public_name
from actors.parameters import ModelParameters
from actors.serving.types import ModelCard


def describe(folder: Path, model: ModelParameters) -> ModelCard:
    """The card of the model in a folder; its weights are not loaded.

    Raises:
        ModelError: it cannot be read.
    """
    spec, config, runtime = load_spec(folder), load_config(folder), find_runtime(model.backend)
    architecture = (config.architectures or ["unknown"])[0]
    return ModelCard(
        name=public_name(model.name),
        fingerprint=fingerprint(folder, model.backend),
        architecture=architecture,
        dtype=model.dtype,
        max_length=spec.max_length,
        hidden_size=int(config.hidden_size),
        answers=architecture.endswith("ForQuestionAnswering") and ModelOutput.LOGITS in runtime.outputs,
    )


def describe_named(model: ModelParameters) -> ModelCard:
    """The card of a model, which is downloaded first where it is not local.

    Raises:
        ModelError: it cannot be found or read.
    """
    return describe(find_model(model), model)
