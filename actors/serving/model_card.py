"""The model card: what the service tells clients about its model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from actors.backends.base import ModelOutput, find_runtime
from actors.backends.precision import EXACT
from actors.errors import ModelError
from actors.model_config import load_config
from actors.models.hub import find_model, fingerprint
from actors.models.loading import load_backend, load_spec
from actors.models.names import public_name
from actors.models.precision import with_precision
from actors.models.runtime_choice import BASELINE, in_place_of, settled_without_measuring
from actors.parameters import ModelParameters
from actors.registry import AUTO
from actors.serving.parameters import ServedModel
from actors.serving.types import ModelCard

ALL_OUTPUTS = frozenset({ModelOutput.LOGITS, ModelOutput.POOLED, ModelOutput.LAST_HIDDEN})
"""What every service may be asked for; a runtime that gives more is not preferred for it."""
_COLUMNS: dict[str, frozenset[ModelOutput]] = {
    "tokens": frozenset(),
    "embedding": frozenset({ModelOutput.POOLED}),
    "token_vectors": frozenset({ModelOutput.LAST_HIDDEN}),
    "hidden": frozenset({ModelOutput.ALL_HIDDEN}),
    "attention": frozenset({ModelOutput.ATTENTION}),
    "attribution": frozenset({ModelOutput.ATTENTION, ModelOutput.LOGITS}),
}
"""What may be asked for beside answers, and the outputs of a runtime that it takes."""


def describe(folder: Path, model: ModelParameters, on_gpu: bool | None = None) -> ModelCard:
    """The card of the model in a folder; its weights are loaded only where a half precision has to be chosen.

    Args:
        on_gpu: whether those who run it have GPUs; None where it is this process, and the model's device tells.

    Raises:
        ModelError: it cannot be read.
    """
    spec, config, runtime = load_spec(folder), load_config(folder), find_runtime(model.backend)
    architecture = (config.architectures or ["unknown"])[0]
    answers = architecture.endswith("ForQuestionAnswering") and ModelOutput.LOGITS in runtime.outputs
    given = runtime.outputs if answers else runtime.outputs - {ModelOutput.LOGITS}
    return ModelCard(
        name=public_name(model.name),
        fingerprint=fingerprint(folder, model.backend),
        architecture=architecture,
        dtype=with_precision(folder, model, on_gpu).dtype or EXACT,
        max_length=spec.max_length,
        hidden_size=int(config.hidden_size),
        answers=answers,
        backend=model.backend,
        layers=int(getattr(config, "num_hidden_layers", 0)),
        heads=int(getattr(config, "num_attention_heads", 0)),
        columns=tuple(name for name, needed in _COLUMNS.items() if needed <= given),
    )


def describe_named(model: ModelParameters, on_gpu: bool) -> ModelCard:
    """As `describe`, of a model that is downloaded first where it is not local, and whose runtime may be `auto`.

    Args:
        on_gpu: whether those who run it have GPUs.

    Raises:
        ModelError: it cannot be found or read.
    """
    model = settled(model, on_gpu)
    return describe(find_model(model), model, on_gpu)


def describe_each(served: Sequence[ServedModel]) -> list[ModelCard]:
    """As `describe_named`, of every model of a service, under the names that clients call them.

    Raises:
        ModelError: one cannot be found or read; where there are several, the message names it.
    """
    return [_described(one, named=len(served) > 1) for one in served]


def _described(one: ServedModel, named: bool) -> ModelCard:
    try:
        card = describe_named(one.model, one.model.on_gpu(one.replicas.gpus > 0))
    except ModelError as error:
        if not named:
            raise
        raise type(error)(f"model {one.public_name}: {error}") from error
    return replace(card, name=one.public_name)


def settled(model: ModelParameters, on_gpu: bool) -> ModelParameters:
    """The model with a runtime that is named: its own; for `auto` the one that is remembered, else torch.

    On CPUs a remembered one is loaded for a moment: if that fails it is torch, and a warning says why. On GPUs it is
    not, since this process may have none.

    Args:
        on_gpu: whether those who run it have GPUs.

    Raises:
        ModelError: the model cannot be found, or no installed runtime computes it in `model.dtype`.
    """
    if model.backend != AUTO:
        return model
    choice = settled_without_measuring(model, ALL_OUTPUTS, on_gpu)
    if choice.is_remembered and choice.backend != BASELINE and not on_gpu:
        chosen = choice.candidate.of(model)
        try:
            load_backend(find_model(chosen), chosen, with_qa_head=False)
        except Exception as error:  # each runtime raises its own kinds
            choice = in_place_of(choice, error, model, ALL_OUTPUTS, on_gpu=False)
    return choice.candidate.of(model)
