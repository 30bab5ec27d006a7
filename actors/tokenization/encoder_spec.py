"""What is needed of a tokenizer: its vocabulary, and where it puts special tokens around question and passage."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

from tokenizers import Encoding, Tokenizer

from actors.errors import ModelError
from actors.tokenization.word_tokenizer import takes_words_alone


@dataclass(frozen=True)
class WindowTemplate:
    """Special tokens of one kind of window.

    A window reads `prefix question middle passage suffix`, or, where the tokenizer pads on the left
    (XLNet), `prefix passage middle question suffix`. A window without a question has an empty middle.
    """

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    prefix_types: tuple[int, ...]
    middle_types: tuple[int, ...]
    suffix_types: tuple[int, ...]
    question_type: int
    passage_type: int
    passage_first: bool
    cls_in_prefix: int | None
    """Index of the CLS token in `prefix`."""
    cls_in_suffix: int | None
    """Index of the CLS token in `suffix`, where it is not in `prefix`."""

    @property
    def has_cls(self) -> bool:
        """Whether a window has a CLS token, by which a model says that the passage does not answer."""
        return self.cls_in_prefix is not None or self.cls_in_suffix is not None

    @cached_property
    def specials(self) -> int:
        """Number of special tokens in a window."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that turns text into windows, small enough to travel to every worker; needs no torch there."""

    tokenizer_json: str
    """The `tokenizers` library's own serialisation, without truncation and padding."""
    pair: WindowTemplate
    single: WindowTemplate
    pad_id: int
    max_length: int
    """Longest window that tokenizer and model accept, in tokens."""
    uses_type_ids: bool
    takes_words_alone: bool
    """Whether a text's tokens are those of its words, one after another; see `actors.tokenization.word_tokenizer`."""

    def tokenizer(self) -> Tokenizer:
        """The tokenizer itself, built once per process."""
        return _build_tokenizer(self.tokenizer_json)


@lru_cache(maxsize=4)
def _build_tokenizer(tokenizer_json: str) -> Tokenizer:
    return Tokenizer.from_str(tokenizer_json)


def make_spec(
    tokenizer: Tokenizer,
    *,
    pad_id: int,
    cls_id: int | None,
    max_length: int,
    uses_type_ids: bool,
    passage_first: bool,
) -> EncoderSpec:
    """Reads the templates off the tokenizer by letting it tokenise two short texts.

    Raises:
        ModelError: the tokenizer does not keep the two texts apart.
    """
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    tokenizer_json = plain.to_str()
    return EncoderSpec(
        tokenizer_json=tokenizer_json,
        pair=_pair_template(plain.encode("a", "b"), cls_id, passage_first),
        single=_single_template(plain.encode("a"), cls_id),
        pad_id=pad_id,
        max_length=max_length,
        uses_type_ids=uses_type_ids,
        takes_words_alone=takes_words_alone(tokenizer_json),
    )


def _pair_template(encoding: Encoding, cls_id: int | None, passage_first: bool) -> WindowTemplate:
    first = [i for i, s in enumerate(encoding.sequence_ids) if s == 0]
    second = [i for i, s in enumerate(encoding.sequence_ids) if s == 1]
    if not first or not second or first[-1] > second[0]:
        raise ModelError("the tokenizer does not frame two texts one after the other, so it cannot ask a passage")
    ids, types = encoding.ids, encoding.type_ids
    first_type, second_type = types[first[0]], types[second[0]]
    return _template(
        (ids[: first[0]], ids[first[-1] + 1 : second[0]], ids[second[-1] + 1 :]),
        (types[: first[0]], types[first[-1] + 1 : second[0]], types[second[-1] + 1 :]),
        question_type=second_type if passage_first else first_type,
        passage_type=first_type if passage_first else second_type,
        passage_first=passage_first,
        cls_id=cls_id,
    )


def _single_template(encoding: Encoding, cls_id: int | None) -> WindowTemplate:
    text = [i for i, s in enumerate(encoding.sequence_ids) if s == 0]
    ids, types = encoding.ids, encoding.type_ids
    return _template(
        (ids[: text[0]], [], ids[text[-1] + 1 :]),
        (types[: text[0]], [], types[text[-1] + 1 :]),
        question_type=0,
        passage_type=types[text[0]],
        passage_first=False,
        cls_id=cls_id,
    )


def _template(
    ids: tuple[list[int], list[int], list[int]],
    types: tuple[list[int], list[int], list[int]],
    *,
    question_type: int,
    passage_type: int,
    passage_first: bool,
    cls_id: int | None,
) -> WindowTemplate:
    prefix, middle, suffix = ids
    in_prefix = prefix.index(cls_id) if cls_id in prefix else None
    in_suffix = suffix.index(cls_id) if in_prefix is None and cls_id in suffix else None
    return WindowTemplate(
        prefix=tuple(prefix),
        middle=tuple(middle),
        suffix=tuple(suffix),
        prefix_types=tuple(types[0]),
        middle_types=tuple(types[1]),
        suffix_types=tuple(types[2]),
        question_type=question_type,
        passage_type=passage_type,
        passage_first=passage_first,
        cls_in_prefix=in_prefix,
        cls_in_suffix=in_suffix,
    )
