"""What a teacher reads of the student's windows, and its distributions over the student's tokens."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from actors.arrays import Doubles, Flags, Longs, segments
from actors.backends.pytorch.padded_pass import model_inputs
from actors.batch import Batch
from actors.engine.collate import collate
from actors.parameters import QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import question_tokens, tokens_with_places
from actors.tokenization.tokenized import Tokenized
from actors.tokenization.windows import cut
from actors.training.distillation.alignment import TokenAlignment, align_tokens

_LARGEST_OVERLAP = 128
"""Tokens that two windows of a teacher share at most, in which it reads one of the student's; half of those of the
passage that a window holds, where that is less."""


@dataclass(frozen=True)
class TeacherWindows:
    """V windows of a teacher, in which it reads what W windows of a student hold.

    The teacher reads the same question and the same stretch of the passage as the student, in its own tokens. Where
    its own tokens are more than it takes, it reads the stretch in several windows that overlap.
    """

    spec: EncoderSpec
    prepared: Tokenized
    """The teacher's tokens. The owner of a window is the position of the student's window; owners are ascending."""
    alignment: TokenAlignment
    """Of the passages' tokens with the student's."""
    unread: Flags
    """[W] student's windows that are learnt from by their labels alone: the teacher's tokenizer finds no token there,
    the question leaves no room in its longest window, or there is no answer and it has no CLS token to say so."""

    @classmethod
    def of(
        cls, spec: EncoderSpec, qa: QAParameters, ours: Tokenized, questions: pa.StringArray, answered: Flags
    ) -> "TeacherWindows":
        """The teacher's windows for all windows of the student.

        Args:
            spec: the teacher's.
            ours: the student's windows, with the texts of the passages and the places of their tokens.
            questions: the distinct questions of `ours`, in the same order.
            answered: [W] whether a window of the student holds the answer.

        Raises:
            ValueError: the student's windows have no texts.
        """
        if ours.texts is None or ours.places is None:
            raise ValueError("a teacher needs the passages' texts, and the places of their tokens")
        question = question_tokens(spec, questions, qa.max_question_len)
        passage, places = tokens_with_places(spec, ours.texts)
        alignment = align_tokens((passage, places), (ours.passage, ours.places))
        first, stop = _stretches(alignment, passage.offsets, ours)
        asked, lengths = question.lengths[ours.windows.question], (stop - first).astype(np.int32)
        room = spec.max_length - spec.pair.specials
        readable = (asked < room) & (lengths > 0) & (answered | spec.pair.has_cls)
        read = np.flatnonzero(readable).astype(np.int32)
        texts, sizes = (ours.windows.question[read], ours.windows.passage[read]), (asked[read], lengths[read])
        windows = cut(read, *texts, sizes, room, np.minimum((room - asked[read]) // 2, _LARGEST_OVERLAP))
        shift = first[windows.owner].astype(np.int32)
        windows = replace(windows, first=windows.first + shift, stop=windows.stop + shift)
        prepared = Tokenized(read, question, passage, windows, places, ours.texts)
        return cls(spec, prepared, alignment, ~readable)

    @property
    def exact_share(self) -> float:
        """Share of the passages' tokens that stand where one of the student's stands."""
        return float(self.alignment.exact.mean()) if len(self.alignment.exact) else 1.0


def _stretches(alignment: TokenAlignment, offsets: Longs, ours: Tokenized) -> tuple[Longs, Longs]:
    """[W] the teacher's first token of every window of the student, and the one after its last; equal where it has
    none. Both are counted from the passage's start.
    """
    windows = ours.windows
    # One count for all texts; a place among the student's tokens may be one before the first, and one after the last.
    reach = int(ours.passage.lengths.max(initial=0)) + 2
    base = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64) * reach, np.diff(offsets)) + 1
    ends = np.maximum.accumulate(base + alignment.end)
    starts = np.maximum.accumulate(base + alignment.start)
    text = windows.passage.astype(np.int64)
    first = np.searchsorted(ends, text * reach + 1 + windows.first, side="left")
    stop = np.searchsorted(starts, text * reach + 1 + windows.stop, side="left")
    return first - offsets[text], np.maximum(first, stop) - offsets[text]


@dataclass(frozen=True)
class TeacherTensors:
    """A teacher's m windows of width U for n windows of a student of width S, on their device."""

    inputs: dict[str, Tensor]
    """What the teacher's forward takes, [m, U] each."""
    allowed: Tensor
    """[m, U] bool: passage tokens and the CLS token, where an answer may be."""
    window: Tensor
    """[m] int64: which of the student's windows it is for."""
    start: Tensor
    """[m, U] int64: the student's column that gets what a token of the passage has as the start of an answer."""
    end: Tensor
    """[m, U] int64: likewise as its end."""
    share: Tensor
    """[m, U] float32: 1 on tokens of the passage, divided by the number of windows that hold the token; 0 elsewhere."""
    cls: Tensor | None
    """[m] int64 column of the teacher's CLS token; None where it has none."""
    student_cls: Tensor | None
    """[n] int64 column of the student's CLS token; None where it has none."""
    shape: tuple[int, int]
    """n and S."""

    @classmethod
    def take(
        cls, teacher: TeacherWindows, ours: Tokenized, chosen: Longs, batch: Batch, device: torch.device
    ) -> "TeacherTensors | None":
        """The teacher's windows for some of the student's; None where it can read none of them.

        Args:
            ours: the student's windows.
            chosen: [n] positions of windows among them.
            batch: these windows, as the student gets them.
        """
        windows, spec = teacher.prepared.windows, teacher.spec
        begin, stop = (np.searchsorted(windows.owner, chosen, side) for side in ("left", "right"))
        read = segments(begin, stop - begin)
        if not len(read):
            return None
        window = np.repeat(np.arange(len(chosen)), stop - begin)
        theirs = collate(teacher.prepared, spec.pair, read, spec.pad_id, spec.uses_type_ids)
        counts = theirs.passage_length
        token = segments(windows.first[read].astype(np.int64), counts)
        places = token + np.repeat(teacher.prepared.passage.offsets[windows.passage[read]], counts)
        first, last = (
            np.repeat(edges[chosen[window]].astype(np.int64), counts)
            for edges in (ours.windows.first, ours.windows.stop - 1)
        )
        shift = np.repeat(batch.passage_start[window], counts) - first
        columns = np.zeros((2, theirs.windows, theirs.width), dtype=np.int64)
        share = np.zeros((theirs.windows, theirs.width), dtype=np.float32)
        for column, aligned in zip(columns, (teacher.alignment.start, teacher.alignment.end), strict=True):
            column[theirs.passage_mask] = np.clip(aligned[places], first, last) + shift
        share[theirs.passage_mask] = _shares(np.repeat(window, counts), token)
        start, end, of, shares = (torch.from_numpy(array).to(device) for array in (*columns, window, share))
        abstaining, student_abstaining = (
            None if at is None else torch.from_numpy(at).to(device) for at in (theirs.cls, batch.cls)
        )
        allowed = torch.from_numpy(theirs.answer_mask).to(device)
        shape = batch.windows, batch.width
        inputs = model_inputs(theirs, device)
        return cls(inputs, allowed, of, start, end, shares, abstaining, student_abstaining, shape)

    def distributions(self, start: Tensor, end: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """The teacher's start and end distributions over the student's tokens, [n, S] float32 each.

        They sum to 1 over the tokens of the passage and the CLS token, and are 0 everywhere for a window of which the
        teacher reads nothing. Where it needs several windows, a token has the mean over those that hold it; the CLS
        token has the least of all, since no answer in one window means nothing where another one has an answer.

        A student without a CLS token learns only from windows that hold the answer. Its teacher's distributions are
        then those under the condition that there is one, however sure the teacher is that there is none.

        Args:
            start, end: the teacher's logits, [m, U] each.
            temperature: divides the logits.
        """
        return self._moved(start, self.start, temperature), self._moved(end, self.end, temperature)

    def _moved(self, logits: Tensor, columns: Tensor, temperature: float) -> Tensor:
        (rows, width), window = self.shape, self.window
        found = torch.softmax((logits.float() / temperature).masked_fill(~self.allowed, float("-inf")), dim=-1)
        places = window.unsqueeze(1) * width + columns
        moved = found.new_zeros(rows * width)
        moved = moved.index_add_(0, places.flatten(), (found * self.share).flatten()).view(rows, width)
        if self.cls is not None and self.student_cls is not None:
            nothing = found.gather(1, self.cls.unsqueeze(1)).squeeze(1)
            least = found.new_full((rows,), 2.0).scatter_reduce_(0, window, nothing, "amin")
            moved.scatter_(1, self.student_cls.unsqueeze(1), torch.where(least > 1.5, 0.0, least).unsqueeze(1))
        return moved / moved.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(moved.dtype).tiny)


def _shares(window: Longs, token: Longs) -> Doubles:
    """1 / the number of windows of the same student's window that hold a token, of every token of every window."""
    reach = int(token.max(initial=0)) + 1
    _, inverse, counts = np.unique(window * reach + token, return_inverse=True, return_counts=True)
    shares: Doubles = 1.0 / counts[inverse]
    return shares
