"""What a training run learns from, as arrays: windows with their answers as token labels, and plain texts."""

from dataclasses import dataclass, fields, replace
from enum import StrEnum

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from actors.arrays import Ints, Longs
from actors.backends.pytorch.padded_pass import model_inputs
from actors.batch import Batch
from actors.engine.collate import collate
from actors.errors import ModelError
from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec, WindowTemplate
from actors.tokenization.preprocess import Rejection, distinct, prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from actors.tokenization.windows import Windows
from actors.training.distillation.teacher import TeacherTensors, TeacherWindows


class UntrainableReason(StrEnum):
    """Why a row gives no training windows."""

    NO_TOKENS = "the passage has no tokens"
    QUESTION_TOO_LONG = "the question leaves too little room in a window of qa.max_seq_len tokens"
    NO_WINDOW = "no window of qa.max_seq_len tokens holds the whole answer"


@dataclass(frozen=True)
class SpanLabels:
    """The answer of every window of a `Tokenized`, as token positions."""

    first: Ints
    """[W] first token of the answer, counted from the window's first passage token; -1 where the window holds none."""
    last: Ints
    """[W] last token of the answer, counted likewise."""
    lost: Ints
    """[X] owners whose answer no window holds whole: it has no token, or more tokens than windows overlap by."""


def label_windows(prepared: Tokenized, start: Longs, stop: Longs) -> SpanLabels:
    """Labels every window with the tokens that its answer touches; a window that lacks one of them has no answer.

    Args:
        prepared: pairs, with the character offsets of their tokens (`places`).
        start, stop: [owners] the answer's first code point and the one after its last; start -1 where the passage
            does not answer.

    Raises:
        ValueError: the prepared pairs have no character offsets.
    """
    if prepared.places is None:
        raise ValueError("labels need the places of the passages' tokens")
    windows, offsets = prepared.windows, prepared.passage.offsets
    passage = windows.passage[np.flatnonzero(windows.first == 0)].astype(np.int64)
    # One key for all texts: a text's number times more than any text's length, plus the place in it.
    reach = max(int(prepared.places.char_end.max(initial=0)), int(stop.max(initial=0))) + 2
    base = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64) * reach, prepared.passage.lengths)
    first = np.searchsorted(base + prepared.places.char_end, passage * reach + start, side="right") - offsets[passage]
    last = (
        np.searchsorted(base + prepared.places.char_start, passage * reach + stop, side="left") - offsets[passage] - 1
    )
    answered = start >= 0
    owner = windows.owner
    inside = (answered & (first <= last))[owner] & (first[owner] >= windows.first) & (last[owner] < windows.stop)
    held = np.bincount(owner[inside], minlength=len(answered)) > 0
    return SpanLabels(
        first=np.where(inside, first[owner] - windows.first, -1).astype(np.int32),
        last=np.where(inside, last[owner] - windows.first, -1).astype(np.int32),
        lost=np.flatnonzero(answered & ~held).astype(np.int32),
    )


def label_columns(labels: SpanLabels, chosen: Longs, batch: Batch) -> tuple[Longs, Longs]:
    """[n] start and end columns in a batch of the windows at the positions `chosen`; the CLS token for no answer.

    Raises:
        ValueError: a window has no answer, and the batch has no CLS token to label instead.
    """
    first, last = labels.first[chosen].astype(np.int64), labels.last[chosen].astype(np.int64)
    held = first >= 0
    if batch.cls is None:
        if not held.all():
            raise ValueError("a window without an answer needs a CLS token")
        return first + batch.passage_start, last + batch.passage_start
    return (
        np.where(held, first + batch.passage_start, batch.cls),
        np.where(held, last + batch.passage_start, batch.cls),
    )


@dataclass(frozen=True)
class Pairs:
    """Question and passage windows with their answer labels."""

    spec: EncoderSpec
    prepared: Tokenized
    labels: SpanLabels
    teacher: TeacherWindows | None = None
    """What a teacher reads of the same windows; None without a teacher."""

    @classmethod
    def make(
        cls,
        spec: EncoderSpec,
        qa: QAParameters,
        table: pa.Table,
        start: Longs,
        stop: Longs,
        teacher: EncoderSpec | None = None,
    ) -> tuple["Pairs", dict[UntrainableReason, Longs]]:
        """Tokenises and labels the rows of a table with the columns question and context.

        Args:
            start, stop: [R] code points of each row's answer; start -1 where the passage does not answer.
            teacher: of a teacher, which may have any tokenizer.

        Returns:
            The pairs, and for every reason that occurs the rows [X] that were left out. None of their windows is kept:
            windows that lack the answer would teach the model to abstain.
        """
        questions, contexts = (table.column(name).combine_chunks() for name in ("question", "context"))
        prepared, rejected = prepare_pairs(spec, qa, questions, contexts)
        kept = np.delete(np.arange(len(start)), rejected.rows)
        labels = label_windows(prepared, start[kept], stop[kept])
        no_tokens = np.array([reason is Rejection.NO_TOKENS for reason in rejected.reasons], dtype=bool)
        left_out = {
            UntrainableReason.NO_TOKENS: rejected.rows[no_tokens].astype(np.int64),
            UntrainableReason.QUESTION_TOO_LONG: rejected.rows[~no_tokens].astype(np.int64),
            UntrainableReason.NO_WINDOW: kept[labels.lost],
        }
        usable = ~np.isin(prepared.windows.owner, labels.lost)
        windows = Windows(**{f.name: getattr(prepared.windows, f.name)[usable] for f in fields(Windows)})
        labels = replace(labels, first=labels.first[usable], last=labels.last[usable])
        prepared = replace(prepared, windows=windows)
        read = None
        if teacher is not None:
            read = TeacherWindows.of(teacher, qa, prepared, distinct(questions)[1], labels.first >= 0)
        pairs = cls(spec, prepared, labels, read)
        return pairs, {reason: rows for reason, rows in left_out.items() if len(rows)}

    @property
    def lengths(self) -> Ints:
        """[W] tokens of every window."""
        return self.prepared.lengths(self.spec.pair.specials)


@dataclass(frozen=True)
class Texts:
    """Plain texts whose embeddings are kept close to the base's; each text is one window."""

    spec: EncoderSpec
    prepared: Tokenized

    @classmethod
    def make(cls, spec: EncoderSpec, texts: pa.StringArray, max_tokens: int) -> "Texts":
        """The distinct texts of at most `max_tokens` tokens, special tokens included; longer ones are left out.

        Raises:
            ModelError: every text is longer.
        """
        embedding = EmbeddingParameters(max_seq_len=min(max_tokens, spec.max_length))
        unique = texts.unique()
        prepared, rejected = prepare_texts(spec, embedding, unique)
        windows_of_owner = np.bincount(prepared.windows.owner, minlength=prepared.owners)
        kept = np.delete(np.arange(len(unique)), rejected.rows)[windows_of_owner[prepared.row_owner] == 1]
        if not len(kept):
            raise ModelError(f"no text has {max_tokens} tokens or less; raise training.embeddings.max_tokens")
        return cls(spec, prepare_texts(spec, embedding, unique.take(pa.array(kept)))[0])

    @property
    def lengths(self) -> Ints:
        """[W] tokens of every text."""
        return self.prepared.lengths(self.spec.single.specials)


@dataclass(frozen=True)
class PairTensors:
    """A batch of n windows of width S on its device."""

    inputs: dict[str, Tensor]
    """What the model's forward takes, [n, S] each."""
    allowed: Tensor
    """[n, S] bool: passage tokens and the CLS token, where an answer may be."""
    first: Tensor
    """[n] int64 column of the answer's first token; the CLS token's where there is none."""
    last: Tensor
    """[n] int64 column of the answer's last token, likewise."""
    teacher: TeacherTensors | None
    """What a teacher reads of these windows; None without a teacher, and where it can read none of them."""

    @classmethod
    def take(cls, pairs: Pairs, chosen: Longs, device: torch.device) -> "PairTensors":
        """The windows at the positions `chosen`."""
        batch = _collate(pairs.prepared, pairs.spec, pairs.spec.pair, chosen)
        first, last = (torch.from_numpy(a).to(device) for a in label_columns(pairs.labels, chosen, batch))
        allowed = torch.from_numpy(batch.answer_mask).to(device)
        read = None
        if pairs.teacher is not None:
            read = TeacherTensors.take(pairs.teacher, pairs.prepared, chosen, batch, device)
        return cls(model_inputs(batch, device), allowed, first, last, read)


@dataclass(frozen=True)
class TextTensors:
    """A batch of n plain texts of width S on its device."""

    inputs: dict[str, Tensor]
    """What the encoder's forward takes, [n, S] each."""
    mask: Tensor
    """[n, S] 1 for tokens, 0 for padding."""

    @classmethod
    def take(cls, texts: Texts, chosen: Longs, device: torch.device) -> "TextTensors":
        """The texts at the positions `chosen`."""
        batch = _collate(texts.prepared, texts.spec, texts.spec.single, chosen)
        mask = np.arange(batch.width) < batch.lengths[:, None]
        return cls(model_inputs(batch, device), torch.from_numpy(mask).to(device))


def _collate(prepared: Tokenized, spec: EncoderSpec, template: WindowTemplate, chosen: Longs) -> Batch:
    return collate(prepared, template, chosen, spec.pad_id, spec.uses_type_ids)
