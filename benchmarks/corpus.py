"""A corpus with lengths like SQuAD's, and a DistilBERT-base-shaped model to run over it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import DistilBertConfig, DistilBertForQuestionAnswering
from transformers.utils import logging

from models.make_untrained import make_tokenizer, make_vocabulary, read_texts

_SEED = 7
_SAMPLES = Path(__file__).parents[1] / "samples" / "corpus.jsonl"


def write_model(folder: Path, layers: int = 6, dim: int = 768) -> None:
    """A folder with random weights of DistilBERT-base's shape, and the sample corpus's vocabulary."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(_SEED)
    config = DistilBertConfig(vocab_size=30522, n_layers=layers, dim=dim, hidden_dim=4 * dim, n_heads=dim // 64)
    DistilBertForQuestionAnswering(config).save_pretrained(folder)
    make_tokenizer(make_vocabulary(read_texts(_SAMPLES))).save_pretrained(folder)


def write_corpus(path: Path, rows: int) -> None:
    """Question and passage pairs: about 12 + 165 tokens on average, with a long tail to 384, in random order."""
    rng = np.random.default_rng(_SEED)
    words = [word for word in make_vocabulary(read_texts(_SAMPLES)) if word.isalpha() and len(word) > 1]
    passage = np.clip(rng.gamma(3.2, 51.0, size=rows), 20, 366).astype(int)
    question = np.clip(rng.normal(12, 3, size=rows), 4, 15).astype(int)
    table = pa.table(
        {
            "id": [f"row-{i}" for i in range(rows)],
            "question": [" ".join(rng.choice(words, n)) for n in question],
            "context": [" ".join(rng.choice(words, n)) for n in passage],
        }
    )
    pq.write_table(table, path)
