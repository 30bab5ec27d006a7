"""Generated rows with lengths like SQuAD's, for those who name no corpus of their own."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.errors import ConfigError

_SEED = 7
_FEWEST_WORDS = 100
_MARKS = "▁Ġ"
"""With which tokenizers mark the beginning of a word."""


def words_of(folder: Path) -> list[str]:
    """Words that a model's tokenizer knows as a single token.

    Raises:
        ConfigError: it knows too few.
    """
    file = folder / "tokenizer.json"
    vocabulary = json.loads(file.read_text(encoding="utf-8"))["model"].get("vocab", {}) if file.is_file() else {}
    # Unigram tokenizers list pairs of a token and its score.
    tokens = vocabulary if isinstance(vocabulary, dict) else [token for token, _ in vocabulary]
    words = [token.strip(_MARKS) for token in tokens]
    words = sorted({word for word in words if word.isascii() and word.isalpha() and len(word) > 1})
    if len(words) < _FEWEST_WORDS:
        raise ConfigError(f"{folder}: no words to make rows of are found in its tokenizer.json; name an INPUT")
    return words


def questions_and_passages(words: Sequence[str], rows: int) -> pa.Table:
    """`id`, `question` and `context`: about 12 + 165 words on average, with a long tail to 384, in random order."""
    rng = np.random.default_rng(_SEED)
    passage = np.clip(rng.gamma(3.2, 51.0, size=rows), 20, 366).astype(int)
    question = np.clip(rng.normal(12, 3, size=rows), 4, 15).astype(int)
    return pa.table(
        {
            "id": [f"row-{i}" for i in range(rows)],
            "question": [" ".join(rng.choice(words, n)) for n in question],
            "context": [" ".join(rng.choice(words, n)) for n in passage],
        }
    )


def texts_of_mixed_length(words: Sequence[str], rows: int) -> pa.Table:
    """`id` and `text`: titles and paragraphs, 60 words in the middle, 3 to 360, in random order."""
    rng = np.random.default_rng(_SEED)
    lengths = np.clip(rng.lognormal(np.log(60), 1.0, size=rows), 3, 360).astype(int)
    texts = [" ".join(rng.choice(words, n)) for n in lengths]
    return pa.table({"id": [f"text-{i}" for i in range(rows)], "text": texts})
