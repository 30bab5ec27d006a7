"""The base of the model that ships, made from a small BERT."""

import shutil
from pathlib import Path

import orjson
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer, BertModel

from actors.backends.pytorch.torch_weights import load_model
from actors.models.loading import load_spec
from actors.training.student import load_base
from models.make_base import PAIR_MARK, main

BERT = Path(__file__).parents[1] / "golden" / "models" / "bert"
MARK = 899


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From a BERT whose last word is unused, and whose tokenizer truncates."""
    source, folder = (tmp_path_factory.mktemp("models") / name for name in ("source", "base"))
    shutil.copytree(BERT, source)
    tokenizer = orjson.loads((source / "tokenizer.json").read_bytes())
    words = tokenizer["model"]["vocab"]
    del words[next(word for word, id in words.items() if id == MARK)]
    words[PAIR_MARK] = MARK
    tokenizer["truncation"]["max_length"] = 16
    (source / "tokenizer.json").write_bytes(orjson.dumps(tokenizer))
    main(source, folder)
    return folder


def test_pairs_are_marked_and_texts_are_not(base: Path) -> None:
    spec = load_spec(base)
    assert (spec.pair.prefix, spec.pair.middle, spec.pair.suffix) == ((2, MARK), (3,), (3,))
    assert (spec.single.prefix, spec.single.suffix) == ((2,), (3,))
    assert spec.pair.cls_in_prefix == 0
    assert not spec.uses_type_ids
    tokenizer = AutoTokenizer.from_pretrained(base)
    alone, asked = tokenizer("Ada keeps goats."), tokenizer("Who?", "Ada keeps goats.")
    assert alone["input_ids"] == AutoTokenizer.from_pretrained(BERT)("Ada keeps goats.")["input_ids"]
    who = AutoTokenizer.from_pretrained(BERT)("Who?")["input_ids"]
    assert asked["input_ids"] == [2, MARK, *who[1:], *alone["input_ids"][1:]]
    assert set(asked) == {"input_ids", "attention_mask"}
    assert asked.sequence_ids()[:2] == [None, None]


def test_nobody_writes_the_mark_into_a_text(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert MARK not in tokenizer(f"Ada {PAIR_MARK} keeps goats.")["input_ids"]


def test_long_texts_are_not_cut(base: Path) -> None:
    # By the tokenizers library, since transformers has its own mind about truncation.
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    assert len(tokenizer.encode("goats " * 300).ids) > 300
    assert tokenizer.padding is None


def test_token_types_are_not_named(base: Path) -> None:
    """transformers 4 hands them out unless told otherwise, and DistilBERT does not take them."""
    settings = orjson.loads((base / "tokenizer_config.json").read_bytes())
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]


def test_texts_embed_as_before(base: Path) -> None:
    """A text's vectors are the original's, mark or not."""
    ids = torch.tensor([[2, 10, 11, 12, 3]])
    original, ours = BertModel.from_pretrained(BERT).train(False), AutoModel.from_pretrained(base).train(False)
    with torch.no_grad():
        assert torch.allclose(original(ids)[0], ours(ids)[0], atol=1e-5)


def test_it_is_a_base(base: Path) -> None:
    assert load_base(base, 1).config.model_type == "distilbert"
    assert load_model(base, with_qa_head=True)
