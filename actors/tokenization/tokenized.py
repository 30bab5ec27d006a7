"""A tokenised shard: token ids and windows as flat arrays, in the form that is sent to a model actor."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from actors.arrays import Ints, Longs, segments
from actors.tokenization.tokenizer import TokenPositions, Tokens
from actors.tokenization.windows import Windows


@dataclass(frozen=True)
class TokenRanges:
    """C runs of passage tokens, grouped by owner and in reading order; every array is [C]."""

    owner: Ints
    first: Ints
    """First token, counted from the start of the owner's passage."""
    stop: Ints
    """Token after the last."""

    def __len__(self) -> int:
        return len(self.owner)


@dataclass(frozen=True)
class Tokenized:
    """Everything that a model actor needs for the rows of a shard, and nothing else."""

    row_owner: Ints
    """[R] the owner whose result a row gets, or with `chunks` the chunk; rows of an embedding job share the owner of
    their text."""
    question: Tokens
    """Distinct questions; one empty text in an embedding job."""
    passage: Tokens
    """Distinct passages."""
    windows: Windows
    places: TokenPositions | None
    """Where the passages' tokens stand; answers need it, and whatever shows tokens."""
    texts: pa.StringArray | None
    """[P] the distinct passages; for the same."""
    question_places: TokenPositions | None = None
    """Where the questions' tokens stand; only what shows the tokens of windows needs it."""
    question_texts: pa.StringArray | None = None
    """The distinct questions, likewise."""
    chunks: TokenRanges | None = None
    """The chunks of owners that are pooled each for itself, so that an owner has a result for each; None where every
    owner has one result. Every token of an owner is in one at least."""

    @property
    def owners(self) -> int:
        """Number of owners."""
        return int(self.windows.owner[-1]) + 1 if len(self.windows) else 0

    @cached_property
    def first_windows(self) -> Longs:
        """[owners] the position of each owner's first window."""
        return np.searchsorted(self.windows.owner, np.arange(self.owners, dtype=np.int32))

    @property
    def results(self) -> int:
        """Number of results."""
        return self.owners if self.chunks is None else len(self.chunks)

    def results_of(self, owners: Ints) -> Longs:
        """The results of these owners, [n], in the order in which `of_owners` has a row for each."""
        if self.chunks is None:
            return owners.astype(np.int64)
        begin, end = (np.searchsorted(self.chunks.owner, owners, side) for side in ("left", "right"))
        return segments(begin, end - begin)

    @cached_property
    def window_tokens(self) -> Longs:
        """[W, 4] of every window: where its question begins among those of all questions, and how many tokens it has;
        where its part of a passage begins among those of all passages, and how many it has.
        """
        windows, asked, read = self.windows, self.question.offsets, self.passage.offsets
        q_from, p_from = asked[windows.question], read[windows.passage] + windows.first
        return np.stack([q_from, asked[windows.question + 1] - q_from, p_from, windows.stop - windows.first], axis=1)

    def text_bytes(self) -> Longs:
        """[P] bytes of every distinct passage in UTF-8; 0 where the texts are not here."""
        if self.texts is None:
            return np.zeros(len(self.passage.lengths), dtype=np.int64)
        offsets = np.frombuffer(self.texts.buffers()[1], np.int32)[self.texts.offset :][: len(self.texts) + 1]
        sizes: Longs = np.diff(offsets).astype(np.int64)
        return sizes

    def lengths(self, specials: int) -> Ints:
        """[W] tokens of every window, special tokens included."""
        windows = self.windows
        return self.question.lengths[windows.question] + (windows.stop - windows.first) + np.int32(specials)

    def of_owners(self, owners: Ints) -> "Tokenized":
        """The windows of these owners, [n], one row for each of their results; the texts stay where they are."""
        begin, end = (np.searchsorted(self.windows.owner, owners, side) for side in ("left", "right"))
        chosen = segments(begin, end - begin)
        cut = {field.name: getattr(self.windows, field.name)[chosen] for field in fields(Windows)}
        numbers = np.arange(len(owners), dtype=np.int32)
        windows = Windows(**cut | {"owner": np.repeat(numbers, end - begin)})
        if self.chunks is None:
            return replace(self, row_owner=numbers, windows=windows)
        own = self.results_of(owners)
        per_owner = np.bincount(self.chunks.owner, minlength=self.owners)[owners]
        chunks = TokenRanges(np.repeat(numbers, per_owner), self.chunks.first[own], self.chunks.stop[own])
        return replace(self, row_owner=np.arange(len(own), dtype=np.int32), windows=windows, chunks=chunks)

    def part(self, windows: slice) -> "Tokenized":
        """These windows, which are all of their owners', and a row for each owner; nothing is copied but numbers.

        Not for texts that are cut into chunks.
        """
        cut = {field.name: getattr(self.windows, field.name)[windows] for field in fields(Windows)}
        owner = cut["owner"] - cut["owner"][:1]
        rows = np.arange(int(owner[-1]) + 1 if len(owner) else 0, dtype=np.int32)
        return replace(self, row_owner=rows, windows=Windows(**cut | {"owner": owner}))

    def to_ipc(self) -> pa.Buffer:
        """Arrow IPC stream of one row whose columns are lists; reading it back copies nothing."""
        columns: dict[str, pa.Array] = {"row_owner": _one_list(self.row_owner)}
        for name, tokens in (("question", self.question), ("passage", self.passage)):
            columns[f"{name}.ids"] = _one_list(tokens.ids)
            columns[f"{name}.offsets"] = _one_list(tokens.offsets)
        for field in fields(Windows):
            columns[f"windows.{field.name}"] = _one_list(getattr(self.windows, field.name))
        for prefix, places, texts in (
            ("", self.places, self.texts),
            ("question_", self.question_places, self.question_texts),
        ):
            if places is not None and texts is not None:
                for field in fields(TokenPositions):
                    columns[f"{prefix}places.{field.name}"] = _one_list(getattr(places, field.name))
                columns[f"{prefix}texts"] = _one_list(texts)
        if self.chunks is not None:
            for field in fields(TokenRanges):
                columns[f"chunks.{field.name}"] = _one_list(getattr(self.chunks, field.name))
        batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return sink.getvalue()

    @classmethod
    def from_ipc(cls, data: pa.Buffer) -> "Tokenized":
        """Reads what `to_ipc` wrote; the arrays are views of `data`."""
        with pa.ipc.open_stream(data) as reader:
            batch = reader.read_next_batch()
        return cls(
            row_owner=_ints(batch, "row_owner"),
            question=Tokens(_ints(batch, "question.ids"), _longs(batch, "question.offsets")),
            passage=Tokens(_ints(batch, "passage.ids"), _longs(batch, "passage.offsets")),
            windows=Windows(**{f.name: _ints(batch, f"windows.{f.name}") for f in fields(Windows)}),
            places=_places(batch, ""),
            texts=_texts(batch, ""),
            question_places=_places(batch, "question_"),
            question_texts=_texts(batch, "question_"),
            chunks=TokenRanges(**{f.name: _ints(batch, f"chunks.{f.name}") for f in fields(TokenRanges)})
            if "chunks.owner" in batch.schema.names
            else None,
        )


def _one_list(values: Ints | Longs | pa.Array) -> pa.Array:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return pa.LargeListArray.from_arrays(pa.array([0, len(array)], type=pa.int64()), array)


def _places(batch: pa.RecordBatch, prefix: str) -> TokenPositions | None:
    if f"{prefix}texts" not in batch.schema.names:
        return None
    return TokenPositions(**{f.name: _ints(batch, f"{prefix}places.{f.name}") for f in fields(TokenPositions)})


def _texts(batch: pa.RecordBatch, prefix: str) -> pa.StringArray | None:
    name = f"{prefix}texts"
    return batch.column(name).flatten() if name in batch.schema.names else None


def _ints(batch: pa.RecordBatch, name: str) -> Ints:
    values: Ints = batch.column(name).flatten().to_numpy(zero_copy_only=True)
    return values


def _longs(batch: pa.RecordBatch, name: str) -> Longs:
    values: Longs = batch.column(name).flatten().to_numpy(zero_copy_only=True)
    return values
