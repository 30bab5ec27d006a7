"""Writes a model with random weights of DistilBERT-base's shape, to measure a size that does not ship.

python -m pipelines.bench.workers.random_model TOKENIZER_FOLDER FOLDER
"""

import shutil
import sys
from pathlib import Path

import torch
from transformers import DistilBertConfig, DistilBertForQuestionAnswering
from transformers.utils import logging

_SEED = 7
_VOCABULARY = 30522
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def write_weights(folder: Path, layers: int = 6, dim: int = 768) -> None:
    """Random weights of DistilBERT-base's shape, the same each time, without a tokenizer."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(_SEED)
    config = DistilBertConfig(vocab_size=_VOCABULARY, n_layers=layers, dim=dim, hidden_dim=4 * dim, n_heads=dim // 64)
    DistilBertForQuestionAnswering(config).save_pretrained(folder)


def main(tokenizer: str, folder: str) -> None:
    """Writes the weights, and beside them the tokenizer of another model."""
    write_weights(Path(folder))
    for name in _TOKENIZER_FILES:
        if (Path(tokenizer) / name).is_file():
            shutil.copyfile(Path(tokenizer) / name, Path(folder) / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
