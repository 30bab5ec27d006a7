"""Where sentences and paragraphs begin."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.arrays import Longs
from actors.tokenization.sentences import paragraph_starts, sentence_starts


def _cut(text: str, starts: Longs) -> list[str]:
    bounds = [*starts.tolist(), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Ada keeps goats. ", "They eat grass!  ", "Do they? ", "Yes."],
        # Abbreviations, initials and references.
        ["Dr. Smith met Mr. J. R. Doe, e.g. at Fig. 3 of Vol. 120. ", "He left."],
        ["In 1837 it burnt, cf. Prof. Bell et al. (1840). ", "Nobody cared."],
        ["Das gilt z.B. für Dr. Weber, d.h. ab dem 3. Mai. ", "Danach nicht."],
        ["He said no. ", "That is art. ", "See No. 7, p. 3 and Art. 5 as well. ", "It was on Dec. 24 or so. ", "So."],
        ["Mme. Curie vint. ", "M. Bell partit."],
        # A lower-case letter goes on, and so does a comma.
        ["Goats, sheep etc. are kept, oxen etc., too. ", "Nothing else."],
        ["Wait ... for it. ", "Good… ", "Then go."],
        # Numbers, addresses and names with dots in them.
        ["It costs 3.14 dollars at example.com/?q=1!x for version 1.2. ", "Fine."],
        # Closing quotes and brackets belong to the sentence before.
        ['"Why?" he asked. ', '"Because." ', "(It is so.) ", "Fine."],
        # Lines may be wrapped; an empty one ends a sentence.
        ["One line\nand the next one. ", "A heading\n\n", "Text without an end\r\n \r\n", "and more"],
        ["One.\u2029", "two\u2029", "three"],
        # Chinese and Japanese have no blanks.
        ["私は学生です。", "彼は「行く。」", "と言った。", "本当？！", "はい！"],
        ["他说：“你好。”", "价格是３．１４元。", "好．", "完"],
        # Devanagari, Arabic and Armenian marks.
        ["यह है। ", "हाँ। ", "ok"],
        ["كيف؟ ", "نعم۔ ", "x"],
    ],
)
def test_a_text_is_cut_after_its_sentences(sentences: list[str]) -> None:
    text = "".join(sentences)
    assert _cut(text, sentence_starts(text)) == sentences


def test_paragraphs_are_divided_by_empty_lines() -> None:
    paragraphs = ["One. Two.\nThree.\n\n", "Four\r\n\t\r\n\r\n  ", "five\u2029", "six\n"]
    text = "".join(paragraphs)
    assert _cut(text, paragraph_starts(text)) == paragraphs


@pytest.mark.parametrize("text", ["", " ", "\n\n", "one"])
def test_a_text_without_an_end_is_one_sentence(text: str) -> None:
    assert sentence_starts(text).tolist() == paragraph_starts(text).tolist() == [0]


@given(st.text(alphabet='aB1. !?\n\r"）。．…\u2029', max_size=60))
def test_any_text_is_cut_into_pieces_that_have_more_than_white_space(text: str) -> None:
    starts = sentence_starts(text)
    pieces = _cut(text, starts)
    assert "".join(pieces) == text
    assert set(paragraph_starts(text).tolist()) <= set(starts.tolist())
    assert not any(piece.isspace() for piece in pieces[1:])


@pytest.mark.parametrize(
    "piece", [".", "\n", " ", "\n ", '."', "a.", '"', "\r\n", "。", "a. ", "A. B "], ids=lambda piece: repr(piece)
)
def test_time_grows_with_the_length_of_any_text(piece: str) -> None:
    # A rule that looks back or ahead without a bound would take hours for it.
    began = time.perf_counter()
    sentence_starts(piece * (500_000 // len(piece)) + " " * 500_000 + "x")
    assert time.perf_counter() - began < 8
