"""Tokenises the texts of a shard and cuts them into windows; each distinct text is tokenised once."""

import sys
from dataclasses import dataclass, fields, replace
from enum import StrEnum

import numpy as np
import pyarrow as pa

from actors.arrays import Flags, Ints, segments
from actors.errors import ModelError
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.tokenized import Tokenized
from actors.tokenization.tokenizer import TokenPositions, Tokens, tokenise, tokenise_with_places
from actors.tokenization.windows import check_fit, cut
from actors.tokenization.word_tokenizer import tokenise_by_words


class Rejection(StrEnum):
    """Why a row cannot be cut into windows."""

    NO_TOKENS = "no_tokens"
    QUESTION_TOO_LONG = "question_too_long"


@dataclass(frozen=True)
class Rejected:
    """Rows that were left out of a `Tokenized`."""

    rows: Ints
    """[X] positions in the input, ascending."""
    reasons: list[Rejection]
    """[X]"""


@dataclass(frozen=True)
class WindowSize:
    """Window length and overlap in tokens, with every default filled in."""

    max_seq_len: int
    doc_stride: int


def qa_window_size(spec: EncoderSpec, qa: QAParameters) -> WindowSize:
    """Defaults as transformers 4.57.6: min(model's limit, 384) tokens, overlap min(half a window, 128).

    Raises:
        ModelError: the model cannot take such windows, or the overlap is longer than a window.
    """
    max_seq_len = _checked_length(spec, qa.max_seq_len, 384, "qa.max_seq_len")
    doc_stride = min(max_seq_len // 2, 128) if qa.doc_stride is None else qa.doc_stride
    return _checked_stride(max_seq_len, doc_stride, "qa.doc_stride", spec.pair.specials)


def embedding_window_size(spec: EncoderSpec, embedding: EmbeddingParameters) -> WindowSize:
    """Defaults: min(model's limit, 512) tokens, no overlap.

    Raises:
        ModelError: the model cannot take such windows, or the overlap is longer than a window.
    """
    max_seq_len = _checked_length(spec, embedding.max_seq_len, 512, "embedding.max_seq_len")
    return _checked_stride(max_seq_len, embedding.doc_stride, "embedding.doc_stride", spec.single.specials)


def prepare_pairs(
    spec: EncoderSpec,
    qa: QAParameters,
    questions: pa.StringArray,
    contexts: pa.StringArray,
    most_windows: int = sys.maxsize,
    keep_texts: bool = False,
) -> tuple[Tokenized, Rejected]:
    """Windows of question and passage pairs; row i of the result is the i-th row that was not rejected.

    Args:
        questions, contexts: [R] strings without nulls.
        keep_texts: whether the questions' texts, and where their tokens stand, are wanted, as the passages' are.

    Raises:
        TooManyWindows: it would be more than `most_windows`.
    """
    size = qa_window_size(spec, qa)
    question_of, distinct_questions = distinct(questions)
    passage_of, distinct_passages = distinct(contexts)
    question_places: TokenPositions | None = None
    if keep_texts:
        question, question_places = tokens_with_places(spec, distinct_questions)
        question, question_places = _truncated_places(question, question_places, qa.max_question_len)
    else:
        question = question_tokens(spec, distinct_questions, qa.max_question_len)
    passage, places = tokens_with_places(spec, distinct_passages)
    lengths = question.lengths[question_of], passage.lengths[passage_of]
    room = size.max_seq_len - spec.pair.specials
    speechless = lengths[1] == 0
    fits = check_fit(*lengths, room, size.doc_stride) & ~speechless
    kept = np.flatnonzero(fits)
    owners = np.arange(len(kept), dtype=np.int32)
    kept_lengths = lengths[0][kept], lengths[1][kept]
    windows = cut(owners, question_of[kept], passage_of[kept], kept_lengths, room, size.doc_stride, most_windows)
    prepared = Tokenized(owners, question, passage, windows, places, distinct_passages)
    if keep_texts:
        prepared = replace(prepared, question_places=question_places, question_texts=distinct_questions)
    return prepared, _rejected(fits, speechless)


def prepare_texts(
    spec: EncoderSpec,
    embedding: EmbeddingParameters,
    texts: pa.StringArray,
    most_windows: int = sys.maxsize,
    keep_texts: bool = False,
) -> tuple[Tokenized, Rejected]:
    """Windows of texts to embed; rows with the same text share one owner.

    Args:
        texts: [R] strings without nulls.
        keep_texts: whether the texts, and where their tokens stand, are wanted in the result.

    Raises:
        TooManyWindows: it would be more than `most_windows`.
    """
    text_of, distinct_texts = distinct(texts)
    if not keep_texts:
        return windows_of_texts(spec, embedding, text_of, _tokens(spec, distinct_texts), most_windows)
    passage, places = tokens_with_places(spec, distinct_texts)
    prepared, rejected = windows_of_texts(spec, embedding, text_of, passage, most_windows)
    return replace(prepared, places=places, texts=distinct_texts), rejected


def windows_of_texts(
    spec: EncoderSpec, embedding: EmbeddingParameters, text_of: Ints, passage: Tokens, most_windows: int = sys.maxsize
) -> tuple[Tokenized, Rejected]:
    """As `prepare_texts`, of texts that are tokenised.

    Args:
        text_of: [R] which text a row has.
        passage: tokens of the distinct texts. Those that have any are the owners, in their order.

    Raises:
        TooManyWindows: it would be more than `most_windows`.
    """
    size = embedding_window_size(spec, embedding)
    speechless = passage.lengths == 0
    kept_texts = np.flatnonzero(~speechless).astype(np.int32)
    owner_of_text = np.cumsum(~speechless, dtype=np.int32) - 1
    room = size.max_seq_len - spec.single.specials
    owners = np.arange(len(kept_texts), dtype=np.int32)
    kept_lengths = np.zeros_like(kept_texts), passage.lengths[kept_texts]
    nothing_asked = np.zeros_like(kept_texts)
    windows = cut(owners, nothing_asked, kept_texts, kept_lengths, room, size.doc_stride, most_windows)
    no_question = Tokens(np.zeros(0, dtype=np.int32), np.zeros(2, dtype=np.int64))
    row_is_speechless = speechless[text_of]
    row_owner = owner_of_text[text_of[~row_is_speechless]].astype(np.int32)
    prepared = Tokenized(row_owner, no_question, passage, windows, None, None)
    return prepared, _rejected(~row_is_speechless, row_is_speechless)


def distinct(texts: pa.StringArray) -> tuple[Ints, pa.StringArray]:
    """[R] which distinct text each of these is, and the distinct texts in the order in which they come."""
    encoded = texts.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32), encoded.dictionary


def _tokens(spec: EncoderSpec, texts: pa.StringArray) -> Tokens:
    if spec.takes_words_alone:
        return tokenise_by_words(spec.tokenizer(), texts)[0]
    return tokenise(spec.tokenizer(), texts.to_pylist())


def question_tokens(spec: EncoderSpec, questions: pa.StringArray, longest: int | None) -> Tokens:
    """Tokens of questions, `longest` of each at most."""
    return _truncated(_tokens(spec, questions), longest)


def tokens_with_places(spec: EncoderSpec, texts: pa.StringArray) -> tuple[Tokens, TokenPositions]:
    """Tokens of texts, and where each stands."""
    if spec.takes_words_alone:
        return tokenise_by_words(spec.tokenizer(), texts)
    return tokenise_with_places(spec.tokenizer(), texts.to_pylist())


def _truncated(tokens: Tokens, longest: int | None) -> Tokens:
    if longest is None or not (tokens.lengths > longest).any():
        return tokens
    within = np.arange(len(tokens.ids)) - np.repeat(tokens.offsets[:-1], tokens.lengths)
    offsets = np.zeros_like(tokens.offsets)
    np.cumsum(np.minimum(tokens.lengths, longest), out=offsets[1:])
    return Tokens(tokens.ids[within < longest], offsets)


def _truncated_places(tokens: Tokens, places: TokenPositions, longest: int | None) -> tuple[Tokens, TokenPositions]:
    cut = _truncated(tokens, longest)
    if cut is tokens:
        return tokens, places
    kept = segments(tokens.offsets[:-1], cut.lengths.astype(np.int64))
    return cut, TokenPositions(*(getattr(places, field.name)[kept] for field in fields(TokenPositions)))


def _rejected(fits: Flags, speechless: Flags) -> Rejected:
    rows = np.flatnonzero(~fits).astype(np.int32)
    reasons = [Rejection.NO_TOKENS if speechless[r] else Rejection.QUESTION_TOO_LONG for r in rows]
    return Rejected(rows, reasons)


def _checked_length(spec: EncoderSpec, wanted: int | None, usual: int, key: str) -> int:
    if wanted is None:
        return min(spec.max_length, usual)
    if wanted > spec.max_length:
        raise ModelError(f"{key} is {wanted}, but the model takes at most {spec.max_length} tokens; lower {key}")
    return wanted


def _checked_stride(max_seq_len: int, doc_stride: int, key: str, specials: int) -> WindowSize:
    if doc_stride >= max_seq_len - specials:
        raise ModelError(
            f"{key} is {doc_stride}, but a window of {max_seq_len} tokens has only {max_seq_len - specials} for text; "
            f"the overlap must be shorter: lower {key}"
        )
    return WindowSize(max_seq_len, doc_stride)
