"""The student model of a training run: loading it from the base, halving it, and saving it at the end."""

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError, first_line

TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)
"""Patterns of what `save` copies from the base."""

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_base(folder: Path, seed: int) -> PreTrainedModel:
    """The base with a QA head: its own, or a freshly initialised one on an encoder that has none.

    Raises:
        ModelError: the weights are missing or damaged, or transformers has no QA model of this architecture.
    """
    torch.manual_seed(seed)
    try:
        return load_model(folder, with_qa_head=True)
    except ModelError:
        # Raises the error that names the problem, where the folder does not load as an encoder either.
        load_model(folder, with_qa_head=False)
    try:
        model: PreTrainedModel = AutoModelForQuestionAnswering.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, weights_only=True, dtype="float32"
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be given a QA head: {first_line(error)}") from error
    return model


def halve(model: PreTrainedModel) -> PreTrainedModel:
    """A student made from every other layer of a model: 12 → 6, 6 → 3, all else kept (Sanh et al. 2019).

    Raises:
        ModelError: its layers are not found, or there is only one.
    """
    student = copy.deepcopy(model)
    stacks = [
        (parent, name, child)
        for parent in student.base_model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList)
    ]
    if len(stacks) != 1:
        raise ModelError(f"{type(model).__name__}: its stack of layers is not found, so it cannot be halved")
    parent, name, layers = stacks[0]
    if len(layers) < 2:
        raise ModelError("a model of one layer cannot be halved")
    setattr(parent, name, nn.ModuleList(layers[i] for i in range(0, len(layers), 2)))
    config: Any = student.config
    # Configs that name it otherwise map this attribute to theirs.
    config.num_hidden_layers = (len(layers) + 1) // 2
    if getattr(config, "layer_types", None):
        config.layer_types = list(config.layer_types[::2])
    return student


def save(model: PreTrainedModel, tokenizer_folder: Path, folder: Path, dtype: str) -> None:
    """A Hugging Face folder: config.json, model.safetensors and the base's tokenizer, byte for byte.

    transformers 5 writes tokenizers that 4.57 does not read, so the base's own files are copied instead.

    Args:
        dtype: float32, float16 or bfloat16, of the weights on disk.
    """
    written = copy.deepcopy(model)
    nn.Module.to(written, device="cpu", dtype=_DTYPES[dtype])
    written.save_pretrained(folder)
    for pattern in TOKENIZER_FILES:
        for path in tokenizer_folder.glob(pattern):
            shutil.copyfile(path, folder / path.name)
