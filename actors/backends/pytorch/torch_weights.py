"""Loads the weights of a model folder into a transformers module."""

from pathlib import Path

from transformers import AutoModel, AutoModelForQuestionAnswering, PreTrainedModel, __version__
from transformers.utils import logging

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.errors import ModelError, first_line
from actors.model_config import load_config

_DTYPE = "torch_dtype" if __version__.startswith("4.") else "dtype"
"""The argument's name. Bundles run on transformers 4 too, which images of Inference Endpoints have."""


def load_model(folder: Path, with_qa_head: bool) -> PreTrainedModel:
    """The weights, from safetensors, or from a pickle that holds tensors only.

    Raises:
        ModelError: no weights, broken weights, or a QA head is wanted and the folder has none.
    """
    auto = AutoModelForQuestionAnswering if with_qa_head else AutoModel
    if not any(path for pattern in TRANSFORMERS_WEIGHTS for path in folder.glob(pattern)):
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
            output_loading_info=True,
            **{_DTYPE: "float32"},
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
