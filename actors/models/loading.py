"""Loads the tokenizer and the engine of a model folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from actors.backends.base import Backend, ModelOutput, check_outputs, find_runtime
from actors.backends.device_errors import device_error
from actors.backends.precision import EXACT
from actors.engine.device_lock import DeviceLock
from actors.engine.engine import Engine
from actors.errors import DeviceLost, ModelError, first_line
from actors.model_config import load_config, longest_window
from actors.models.precision import with_precision
from actors.parameters import BatchingParameters, ModelParameters
from actors.tokenization.encoder_spec import EncoderSpec, make_spec

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast


def load_engine(
    folder: Path,
    model: ModelParameters,
    batching: BatchingParameters,
    with_qa_head: bool,
    device_lock: DeviceLock | None = None,
) -> Engine:
    """Loads a model folder.

    Args:
        device_lock: shared with whoever else uses the device; None where nobody does.

    Raises:
        ModelError: it cannot be used.
        DeviceLost: the device does not take it.
    """
    given = find_runtime(model.backend).outputs
    if not with_qa_head:
        given -= {ModelOutput.LOGITS}
    backend, spec = load_backend(folder, model, with_qa_head), load_spec(folder)
    with _judged():
        return Engine(backend, spec, batching, device_lock, given)


def load_backend(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    """A model in the runtime that `model.backend` names, ready for a pass.

    Raises:
        ModelError: no weights, broken weights, a QA head is wanted and the folder has none, or the runtime gives no
            logits, or no precision of the kind that is asked for.
        DeviceLost: the device does not take it.
    """
    runtime = find_runtime(model.backend)
    if with_qa_head:
        check_outputs(frozenset({ModelOutput.LOGITS}), runtime.outputs)
    runtime.check_installed()
    decided = with_precision(folder, model)
    dtype = decided.dtype or EXACT
    runtime.check_dtype(dtype)
    runtime.check_can_load(folder, dtype)
    with _judged():
        return runtime.load(folder, decided, with_qa_head)


@contextmanager
def _judged() -> Iterator[None]:
    """Raises DeviceLost instead of whatever a runtime says where its device is gone."""
    try:
        yield
    except Exception as error:
        lost = device_error(error)
        if isinstance(lost, DeviceLost):
            raise lost from error
        raise


def load_spec(folder: Path) -> EncoderSpec:
    """The model's tokenizer and the templates of its windows.

    Raises:
        ModelError: no tokenizer, or none that the `tokenizers` library runs.
    """
    # Not before here: it brings torch and 140 MB, also to processes that only name what loads a model.
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: the tokenizer cannot be loaded: {first_line(error)}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(
            f"{folder}: {type(tokenizer).__name__} is no fast tokenizer; add a tokenizer.json to the folder"
        )
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        # transformers 5 makes up an empty tokenizer where a folder has none.
        raise ModelError(f"{folder} holds no tokenizer: neither tokenizer.json nor a vocabulary")
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{folder}: the tokenizer names no pad token; set pad_token in tokenizer_config.json")
    config = load_config(folder)
    _check_vocabulary(folder, tokenizer, config)
    return make_spec(
        tokenizer.backend_tokenizer,
        pad_id=int(tokenizer.pad_token_id),
        cls_id=tokenizer.cls_token_id,
        max_length=min(int(tokenizer.model_max_length), longest_window(config)),
        uses_type_ids=_uses_type_ids(tokenizer, config),
        passage_first=tokenizer.padding_side == "left",
    )


def _check_vocabulary(folder: Path, tokenizer: "PreTrainedTokenizerFast", config: "PreTrainedConfig") -> None:
    largest, rows = max(tokenizer.get_vocab().values()), getattr(config, "vocab_size", None)
    if rows is not None and largest >= rows:
        raise ModelError(
            f"{folder}: the tokenizer has token ids up to {largest}, and the model embeddings of {rows} tokens only; "
            "use the tokenizer that the model was trained with"
        )


def _uses_type_ids(tokenizer: "PreTrainedTokenizerFast", config: "PreTrainedConfig") -> bool:
    from transformers import MODEL_MAPPING, PreTrainedTokenizerFast

    found = MODEL_MAPPING.get(type(config), None)
    model = found[0] if isinstance(found, tuple) else found
    if model is None or "token_type_ids" not in signature(model.forward).parameters:
        return False
    types = getattr(config, "type_vocab_size", None)
    if types is not None and types < 2:
        return False
    # transformers 5 no longer lists token types for the generic class, where transformers 4 did; a listing in
    # the tokenizer's own config is meant.
    if type(tokenizer) is PreTrainedTokenizerFast and "model_input_names" not in tokenizer.init_kwargs:
        return types is not None
    return "token_type_ids" in tokenizer.model_input_names
