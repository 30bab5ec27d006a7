"""The frame around a window, read off the tokenizer."""

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from actors.errors import ModelError
from actors.tokenization.encoder_spec import WindowTemplate, make_spec
from tests.actors.conftest import Loaded
from tests.actors.helpers import CLS, SEP, word_spec, word_tokenizer


def test_a_bert_window_reads_cls_question_sep_passage_sep() -> None:
    spec = word_spec()
    assert spec.pair == WindowTemplate(
        prefix=(CLS,),
        middle=(SEP,),
        suffix=(SEP,),
        prefix_types=(0,),
        middle_types=(0,),
        suffix_types=(1,),
        question_type=0,
        passage_type=1,
        passage_first=False,
        cls_in_prefix=0,
        cls_in_suffix=None,
    )
    assert (spec.single.prefix, spec.single.middle, spec.single.suffix) == ((CLS,), (), (SEP,))
    assert (spec.single.passage_type, spec.single.cls_in_prefix) == (0, 0)
    assert (spec.pair.specials, spec.single.specials) == (3, 2)


def test_an_xlnet_window_reads_passage_sep_question_sep_cls() -> None:
    frame = word_spec(cls_at_the_end=True).pair
    assert (frame.prefix, frame.middle, frame.suffix) == ((), (SEP,), (SEP, CLS))
    assert (frame.passage_type, frame.question_type, frame.suffix_types) == (0, 1, (1, 2))
    assert (frame.cls_in_prefix, frame.cls_in_suffix) == (None, 1)


def test_a_roberta_window_has_two_separators_in_the_middle(models: dict[str, Loaded]) -> None:
    frame = models["roberta"].spec.pair
    start, end = 0, 2
    assert (frame.prefix, frame.middle, frame.suffix) == ((start,), (end, end), (end,))
    assert (frame.question_type, frame.passage_type, frame.cls_in_prefix) == (0, 0, 0)


def test_a_tokenizer_without_special_tokens_has_an_empty_frame() -> None:
    bare = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    spec = make_spec(bare, pad_id=0, cls_id=None, max_length=8, uses_type_ids=False, passage_first=False)
    assert (spec.pair.specials, spec.pair.cls_in_prefix, spec.pair.cls_in_suffix) == (0, None, None)


def test_a_tokenizer_that_drops_the_second_text_is_refused() -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="$A", pair="$B $A", special_tokens=[])
    with pytest.raises(ModelError, match="two texts"):
        make_spec(tokenizer, pad_id=0, cls_id=None, max_length=8, uses_type_ids=False, passage_first=False)


def test_the_tokenizers_own_truncation_and_padding_are_off() -> None:
    tokenizer = Tokenizer.from_str(word_tokenizer().to_str())
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=64)
    spec = make_spec(tokenizer, pad_id=0, cls_id=CLS, max_length=512, uses_type_ids=True, passage_first=False)
    assert spec.pair == word_spec().pair
    assert len(spec.tokenizer().encode("w1 w2 w3 w4 w5", add_special_tokens=False).ids) == 5
    assert tokenizer.truncation is not None, "the caller's tokenizer is left as it was"
