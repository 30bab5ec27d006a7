"""The tokens of passages and of windows as rows of a column: their texts, ids and places."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from actors.arrays import Flags, Ints, Longs, segments
from actors.engine.decoding.passages import Passages
from actors.engine.decoding.rows import list_offsets, of_rows
from actors.tokenization.encoder_spec import EncoderSpec, WindowTemplate
from actors.tokenization.tokenized import Tokenized
from actors.tokenization.tokenizer import TokenPositions, Tokens

TOKEN = pa.struct([("text", pa.string()), ("id", pa.int32()), ("start", pa.int32()), ("end", pa.int32())])
"""A token of a passage: what it stands for there, its id, its first code point, and the one after its last."""
WINDOW_TOKEN = pa.struct(
    [("text", pa.string()), ("id", pa.int32()), ("part", pa.string()), ("start", pa.int32()), ("end", pa.int32())]
)
"""A token of a window. part is question, passage or special; start and end are code points of that text, null for
special tokens, whose text is their name."""

_SPECIAL, _QUESTION, _PASSAGE = range(3)
_PARTS = pa.array(["special", "question", "passage"])


def passage_tokens(prepared: Tokenized) -> pa.ListArray:
    """[R] lists of `TOKEN`: the tokens of each row's passage that are in any of its windows."""
    windows = prepared.windows
    last = np.searchsorted(windows.owner, np.arange(prepared.owners), side="right") - 1
    passage, lengths = windows.passage[last], windows.stop[last].astype(np.int64)
    source = segments(prepared.passage.offsets[passage], lengths)
    side = _Side.of_passages(prepared)
    fields = [side.texts(source), *(pa.array(values) for values in side.numbers(source))]
    tokens = pa.StructArray.from_arrays(fields, fields=list(TOKEN))
    return of_rows(pa.ListArray.from_arrays(list_offsets(lengths, "tokens"), tokens), prepared)


@dataclass(frozen=True)
class _Side:
    """All questions or all passages of a request or shard."""

    strings: pa.StringArray
    tokens: Tokens
    places: TokenPositions

    @classmethod
    def of_passages(cls, prepared: Tokenized) -> "_Side":
        if prepared.texts is None or prepared.places is None:
            raise ValueError("these windows were prepared without texts and places")
        return cls(prepared.texts, prepared.passage, prepared.places)

    @classmethod
    def of_questions(cls, prepared: Tokenized) -> "_Side":
        if prepared.question_texts is None or prepared.question_places is None:
            raise ValueError("these windows were prepared without the texts and places of questions")
        return cls(prepared.question_texts, prepared.question, prepared.question_places)

    def texts(self, source: Longs) -> pa.StringArray:
        """What the tokens at these places, [m], stand for in their texts."""
        # Of several texts that begin at one place all are empty but the last, which has it.
        number = np.searchsorted(self.tokens.offsets, source, side="right") - 1
        _, start, end = self.numbers(source)
        return Passages(self.strings).slices(number, start, end).cast(pa.string())

    def numbers(self, source: Longs) -> tuple[Ints, Ints, Ints]:
        """Their ids, their first code points, and those after their last."""
        return self.tokens.ids[source], self.places.char_start[source], self.places.char_end[source]


@dataclass(frozen=True)
class WindowTokens:
    """Says what the tokens of windows are."""

    prepared: Tokenized
    spec: EncoderSpec
    template: WindowTemplate

    @cached_property
    def lengths(self) -> Longs:
        """[W] tokens of every window, special tokens included."""
        return self.prepared.lengths(self.template.specials).astype(np.int64)

    @cached_property
    def passage_start(self) -> Longs:
        """[W] index of each window's first passage token."""
        _, q_len, _, _ = self.prepared.window_tokens.T
        return self._second(q_len) if not self.template.passage_first else self._first(q_len)

    @cached_property
    def question_start(self) -> Longs:
        """[W] index of each window's first question token."""
        _, _, _, p_len = self.prepared.window_tokens.T
        return self._second(p_len) if self.template.passage_first else self._first(p_len)

    def _first(self, other: Longs) -> Longs:
        return np.full_like(other, len(self.template.prefix))

    def _second(self, before: Longs) -> Longs:
        start: Longs = before + len(self.template.prefix) + len(self.template.middle)
        return start

    def is_text(self, windows: Longs, width: int) -> Flags:
        """[n, width] True on tokens of question and passage."""
        _, q_len, _, p_len = self.prepared.window_tokens[windows].T
        columns = np.arange(width)
        flags = np.zeros((len(windows), width), dtype=bool)
        for start, length in ((self.question_start, q_len), (self.passage_start, p_len)):
            begin = start[windows][:, None]
            flags |= (columns >= begin) & (columns < begin + length[:, None])
        return flags

    def of_windows(self) -> pa.ListArray:
        """[W] lists of `WINDOW_TOKEN`: all tokens of every window.

        Raises:
            TooManyValues: see `list_offsets`.
        """
        window = np.repeat(np.arange(len(self.lengths)), self.lengths)
        places = np.arange(len(window)) - (np.cumsum(self.lengths) - self.lengths)[window]
        return pa.ListArray.from_arrays(list_offsets(self.lengths, "tokens of windows"), self.describe(window, places))

    def describe(self, windows: Longs, places: Longs) -> pa.StructArray:
        """[m] `WINDOW_TOKEN` of the tokens at these places, [m], of these windows, [m]."""
        part, source = self._sources(windows, places)
        m = len(places)
        ids = self._special_ids(windows, places)
        start, end = np.zeros(m, dtype=np.int32), np.zeros(m, dtype=np.int32)
        texts, order = list[pa.Array](), np.zeros(m, dtype=np.int64)
        before = 0
        for code, side in self._sides():
            own = np.flatnonzero(part == code)
            ids[own], start[own], end[own] = side.numbers(source[own])
            texts.append(side.texts(source[own]))
            order[own] = before + np.arange(len(own))
            before += len(own)
        special = np.flatnonzero(part == _SPECIAL)
        known, order[special] = np.unique(ids[special], return_inverse=True)
        order[special] += before
        texts.append(self._names(known))
        is_special = part == _SPECIAL
        fields = [
            pa.concat_arrays(texts).take(pa.array(order)),
            pa.array(ids),
            _PARTS.take(pa.array(part)),
            pa.array(start, mask=is_special),
            pa.array(end, mask=is_special),
        ]
        return pa.StructArray.from_arrays(fields, fields=list(WINDOW_TOKEN))

    def _sides(self) -> Iterator[tuple[int, _Side]]:
        if self.template is self.spec.pair:
            yield _QUESTION, _Side.of_questions(self.prepared)
        yield _PASSAGE, _Side.of_passages(self.prepared)

    def _sources(self, windows: Longs, places: Longs) -> tuple[Longs, Longs]:
        """Which part each token is of, and its place among those of all questions or passages."""
        q_from, q_len, p_from, p_len = self.prepared.window_tokens[windows].T
        part, source = np.zeros(len(places), dtype=np.int64), np.zeros(len(places), dtype=np.int64)
        for code, start, length, begin in (
            (_QUESTION, self.question_start, q_len, q_from),
            (_PASSAGE, self.passage_start, p_len, p_from),
        ):
            within = places - start[windows]
            is_own = (within >= 0) & (within < length)
            part[is_own] = code
            source[is_own] = (begin + within)[is_own]
        return part, source

    def _special_ids(self, windows: Longs, places: Longs) -> Ints:
        """Ids of special tokens at these places; anything where there is another token."""
        template = self.template
        ids = np.array([*template.prefix, *template.middle, *template.suffix, 0], dtype=np.int32)
        second = np.maximum(self.passage_start, self.question_start)[windows]
        before, between = len(template.prefix), len(template.middle)
        from_end = places - (self.lengths[windows] - len(template.suffix))
        of_suffix = before + between + from_end
        of_middle = before + between + places - second
        index = np.where(places < before, places, np.where(from_end >= 0, of_suffix, of_middle))
        found: Ints = ids[np.clip(index, 0, len(ids) - 1)]
        return found

    def _names(self, ids: Ints) -> pa.StringArray:
        tokenizer = self.spec.tokenizer()
        return pa.array([tokenizer.id_to_token(int(one)) or "" for one in ids], pa.string())
