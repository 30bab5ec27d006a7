"""Words tokenised once give the tokens of the whole text."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.tokenization.tokenizer import tokenise_with_places
from actors.tokenization.word_tokenizer import takes_words_alone, tokenise_by_words
from tests.actors.conftest import Loaded
from tests.actors.helpers import strings, word_tokenizer

PIECES = [
    *"abXY ,.-\u2019'\u00e9\u0308\u0300\u0338\u00df\u0130\u03a3\u03c2\u65e5\u672c",
    "\U0001f600",
    *"\t\n\r\x00\x07",
]
PIECES += [
    "\u00a0",
    "\u2028",
    "\u200b",
    "\u3000",
    "\ufeff",
    "\ufb01",
    "\u00a8",
    "\u1100\u1161",
    "[CLS]",
    "[MASK]",
    "##a",
    "  ",
]
PIECES += ["the", " lamp", " w1 ", "a" * 101]
TEXTS = st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=6)


def _assert_same(tokenizer: Any, texts: list[str]) -> None:
    for whole, by_words in zip(
        tokenise_with_places(tokenizer, texts), tokenise_by_words(tokenizer, strings(texts)), strict=True
    ):
        for name, expected in vars(whole).items():
            got = getattr(by_words, name)
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(got, expected, err_msg=f"{name} of {texts!r}")


@given(texts=TEXTS)
def test_words_alone_are_the_whole_text(models: dict[str, Loaded], texts: list[str]) -> None:
    for name in ("bert", "distilbert"):
        _assert_same(models[name].spec.tokenizer(), texts)
    _assert_same(word_tokenizer(), texts)


def test_more_words_than_the_tokenizer_gets_at_once() -> None:
    texts = [" ".join(f"w{n % 60} x{n}" for n in range(start, start + 300)) for start in (0, 200, 900)]
    _assert_same(word_tokenizer(), texts)


def test_texts_of_a_slice_are_its_own(models: dict[str, Loaded]) -> None:
    tokenizer = models["bert"].spec.tokenizer()
    tokens, _ = tokenise_by_words(tokenizer, strings(["w9 w9", "Ada keeps", "goats"]).slice(1))
    assert tokens.ids.tolist() == tokenizer.encode("Ada keeps goats", add_special_tokens=False).ids
    assert tokens.lengths.sum() == tokens.offsets[-1]


@pytest.mark.parametrize(("model", "alone"), [("bert", True), ("distilbert", True), ("roberta", False)])
def test_only_tokenizers_that_leave_the_blank_out_take_words_alone(
    models: dict[str, Loaded], model: str, alone: bool
) -> None:
    assert models[model].spec.takes_words_alone is alone


@pytest.mark.parametrize(
    "change",
    [
        {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [{"type": "Lowercase"}, {"type": "Prepend", "prepend": "_"}],
            }
        },
        {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "Punctuation", "behavior": "Isolated"}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace"}]}},
        {"added_tokens": [{"content": "[MASK]", "lstrip": True, "rstrip": False}]},
        {"added_tokens": [{"content": "[MASK]", "lstrip": False, "rstrip": True}]},
        {"added_tokens": [{"content": "New York", "lstrip": False, "rstrip": False}]},
    ],
)
def test_whatever_may_look_across_a_blank_does_not(change: dict[str, Any]) -> None:
    parts = json.loads(word_tokenizer().to_str())
    assert takes_words_alone(json.dumps(parts))
    assert not takes_words_alone(json.dumps(parts | change))


def test_a_sequence_of_local_steps_takes_words_alone() -> None:
    parts = json.loads(word_tokenizer().to_str())
    parts["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}
    parts["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Punctuation"}],
    }
    assert takes_words_alone(json.dumps(parts))
