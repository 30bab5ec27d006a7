"""Builds models/untrained: a small DistilBERT with a QA head and random weights.

It stands in until a trained model ships, so that every command runs on a machine that reaches no model hub. Its
answers are spans of the passage like any model's, and mean nothing.

    python models/make_untrained.py [FOLDER]
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import torch
from transformers import DistilBertConfig, DistilBertForQuestionAnswering, DistilBertTokenizer
from transformers.utils import logging

HERE = Path(__file__).parent
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = 4000
SEED = 20_261_122


def main() -> None:
    """Writes the folder named on the command line, or models/untrained."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "untrained"
    vocabulary = make_vocabulary(read_texts(HERE.parent / "samples" / "corpus.jsonl"))
    make_model(len(vocabulary)).save_pretrained(folder)
    make_tokenizer(vocabulary).save_pretrained(folder)
    print(f"{folder}: untrained DistilBERT, {len(vocabulary)} word pieces")


def read_texts(corpus: Path) -> list[str]:
    """Distinct passages and questions of the sample corpus."""
    rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(text for row in rows for text in (row["context"], row["question"])))


def make_vocabulary(texts: list[str]) -> dict[str, int]:
    """Special tokens, every character alone and as a continuation, and the most frequent words."""
    lowered = [text.lower() for text in texts]
    characters = sorted({c for text in lowered for c in text if not c.isspace()})
    counts = Counter(word for text in lowered for word in re.findall(r"\w+", text))
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:WORDS]
    pieces = dict.fromkeys((*SPECIALS, *characters, *(f"##{c}" for c in characters), *words))
    return {piece: i for i, piece in enumerate(pieces)}


def make_tokenizer(vocabulary: dict[str, int]) -> DistilBertTokenizer:
    """A lower-casing WordPiece tokenizer as DistilBERT's."""
    return DistilBertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=512)


def make_model(vocabulary_size: int) -> DistilBertForQuestionAnswering:
    """Two layers of 128, with random weights that are the same on every machine."""
    torch.manual_seed(SEED)
    config = DistilBertConfig(
        vocab_size=vocabulary_size, dim=128, n_layers=2, n_heads=4, hidden_dim=512, max_position_embeddings=512
    )
    return DistilBertForQuestionAnswering(config)


if __name__ == "__main__":
    main()
