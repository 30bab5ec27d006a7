"""A model folder → its tokenizer, its weights, its engine."""

from inspect import signature
from pathlib import Path

from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from actors.backends.base import Backend
from actors.backends.null import NullBackend
from actors.backends.torch_backend import TorchBackend
from actors.engine.device_lock import DeviceLock
from actors.engine.engine import Engine
from actors.errors import ModelError, first_line
from actors.parameters import BatchingParameters, ModelParameters
from actors.tokenization.encoder_spec import EncoderSpec, make_spec

_POSITIONS_AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "ibert",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}


def load_engine(
    folder: Path,
    model: ModelParameters,
    batching: BatchingParameters,
    with_qa_head: bool,
    turns: DeviceLock | None = None,
) -> Engine:
    """Loads a model folder.

    Args:
        turns: who else is on the device; None where nobody is.

    Raises:
        ModelError: it cannot be used.
    """
    return Engine(load_backend(folder, model, with_qa_head), load_spec(folder), batching, turns)


def load_backend(folder: Path, model: ModelParameters, with_qa_head: bool) -> Backend:
    """The runtime that `model.backend` names, ready for a pass; the null backend needs no weights.

    Raises:
        ModelError: no weights, broken weights, or a QA head is wanted and the folder has none.
    """
    if model.backend == "null":
        return NullBackend(int(load_config(folder).hidden_size))
    return TorchBackend(load_model(folder, with_qa_head), model)


def load_spec(folder: Path) -> EncoderSpec:
    """The model's tokenizer and frames.

    Raises:
        ModelError: no tokenizer, or none that the `tokenizers` library runs.
    """
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
        max_length=min(int(tokenizer.model_max_length), _positions(config)),
        uses_type_ids=_uses_type_ids(tokenizer, config),
        passage_first=tokenizer.padding_side == "left",
    )


def load_model(folder: Path, with_qa_head: bool) -> PreTrainedModel:
    """The weights, from safetensors, or from a pickle that holds tensors only.

    Raises:
        ModelError: no weights, broken weights, or a QA head is wanted and the folder has none.
    """
    auto = AutoModelForQuestionAnswering if with_qa_head else AutoModel
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        raise ModelError(
            f"{folder} holds no weights: neither model.safetensors nor pytorch_model.bin; copy the whole model there"
        )
    config = load_config(folder)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # What is missing is looked at below; a QA head that an embedding does without is none of it.
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        model, report = auto.from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            local_files_only=True,
            weights_only=True,
            dtype="float32",
            output_loading_info=True,
        )
    except Exception as error:  # safetensors, torch and transformers each raise their own kind
        raise ModelError(
            f"{folder}: the weights cannot be loaded: {first_line(error)}; copy or download the model again"
        ) from error
    missing = [name for name in report["missing_keys"] if "pooler" not in name]
    if missing:
        needed = "a QA head" if any(name.startswith("qa_outputs") for name in missing) else "all of its weights"
        raise ModelError(
            f"{folder} is a {type(model).__name__} without {needed} (missing: {', '.join(sorted(missing)[:4])}); "
            "name a model that was fine-tuned for question answering, or embed with it instead"
        )
    return model  # type: ignore[no-any-return]


def load_config(folder: Path) -> PreTrainedConfig:
    """The folder's config.json.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return config
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder / 'config.json'}: {first_line(error)}") from error


def _check_vocabulary(folder: Path, tokenizer: PreTrainedTokenizerFast, config: PreTrainedConfig) -> None:
    largest, rows = max(tokenizer.get_vocab().values()), getattr(config, "vocab_size", None)
    if rows is not None and largest >= rows:
        raise ModelError(
            f"{folder}: the tokenizer has token ids up to {largest}, and the model embeddings of {rows} tokens only; "
            "use the tokenizer that the model was trained with"
        )


def _uses_type_ids(tokenizer: PreTrainedTokenizerFast, config: PreTrainedConfig) -> bool:
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


def _positions(config: PreTrainedConfig) -> int:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions < 0:  # XLNet, which has no limit, says -1
        return 1 << 30
    # RoBERTa's kin count positions from padding_idx + 1, so their table is that much longer than their windows.
    offset = config.pad_token_id + 1 if config.model_type in _POSITIONS_AFTER_PADDING else 0
    return int(positions) - offset
