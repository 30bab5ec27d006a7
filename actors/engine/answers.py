"""Merges the candidate spans of windows into the answers of rows: text, offsets and scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Doubles, Ints, Longs, segments
from actors.candidates import Candidates
from actors.parameters import QAParameters
from actors.tokenization.tokenized import Tokenized
from actors.tokenization.tokenizer import TokenPositions

_MOST_SPANS, _MOST_BYTES = 1 << 15, 4 << 20
"""Candidates that are merged at once, and text of their passages: a candidate takes some 1,000 bytes meanwhile, and
a byte of text that is not ASCII takes nine. A single owner may have more of either."""


@dataclass(frozen=True)
class Answers:
    """The answers of R rows, end to end; row i owns answers `offsets[i]` to `offsets[i + 1]`, best first."""

    offsets: Ints
    """[R + 1]"""
    text: pa.StringArray
    """[A] the span of the passage; null where the model abstains."""
    score: Doubles
    """[A] probability; equal texts of one row are summed, so it can pass 1."""
    start: Ints
    """[A] first code point of the span in its passage; -1 where the model abstains."""
    end: Ints
    """[A] code point after the span's last; -1 where the model abstains."""
    null_score: Doubles
    """[R] probability that there is no answer: the least of the row's windows."""

    @classmethod
    def joined(cls, parts: Sequence["Answers"]) -> "Answers":
        """The rows of one or more, end to end."""
        if len(parts) == 1:
            return parts[0]
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(
            offsets=np.concatenate([np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)]),
            text=pa.concat_arrays([part.text for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            start=np.concatenate([part.start for part in parts]),
            end=np.concatenate([part.end for part in parts]),
            null_score=np.concatenate([part.null_score for part in parts]),
        )


@dataclass(frozen=True)
class _Spans:
    """Candidates of all windows, end to end, in reading order of the windows and best first."""

    owner: Ints
    passage: Ints
    char_start: Ints
    char_end: Ints
    score: Doubles


def read_answers(prepared: Tokenized, candidates: Candidates, qa: QAParameters) -> Answers:
    """Merges the candidates of each row's windows, as transformers 4.57.6 does.

    Spans with equal text (compared in lower case) are one answer: it keeps the place of the first and the
    sum of all scores. With `handle_impossible_answer`, abstaining has the least null score of the windows.

    Args:
        candidates: of all windows of `prepared`, in order.
    """
    if prepared.places is None or prepared.texts is None:
        raise ValueError("these windows were prepared for embedding: they hold no places to read answers from")
    return Answers.joined(
        [
            _read(prepared.of_owners(owners), prepared.places, prepared.texts, candidates.part(windows), qa)
            for owners, windows in _parts(prepared, candidates)
        ]
    )


def _parts(prepared: Tokenized, candidates: Candidates) -> Iterator[tuple[Ints, slice]]:
    """Owners and their windows, so many at a time that merging them takes little memory; once at least."""
    windows, owners = prepared.windows, prepared.owners
    bounds = np.searchsorted(windows.owner, np.arange(owners + 1))
    spans = bounds * candidates.start.shape[1]
    text = np.concatenate([[0], np.cumsum(prepared.text_bytes()[windows.passage[bounds[:-1]]])])
    first = 0
    while first < owners or not first:
        last = min(
            int(np.searchsorted(spans, spans[first] + _MOST_SPANS, "right")),
            int(np.searchsorted(text, text[first] + _MOST_BYTES, "right")),
        )
        stop = min(max(last - 1, first + 1), owners)
        yield np.arange(first, stop, dtype=np.int32), slice(int(bounds[first]), int(bounds[stop]))
        first = max(stop, 1)


def _read(
    prepared: Tokenized, places: TokenPositions, texts: pa.StringArray, candidates: Candidates, qa: QAParameters
) -> Answers:
    spans = _locate(prepared, places, candidates, qa.align_to_words)
    text = _slice_texts(texts, spans.passage, spans.char_start, spans.char_end)
    merged, score = _merge(spans.owner, text, spans.score)
    owner, start, end = spans.owner[merged], spans.char_start[merged], spans.char_end[merged]
    text = text.take(pa.array(merged))
    null_score = _null_scores(prepared, candidates)
    if qa.handle_impossible_answer:
        owners = prepared.owners
        nothing = np.full(owners, -1, dtype=np.int32)
        owner = np.concatenate([owner, np.arange(owners, dtype=np.int32)])
        start, end = np.concatenate([start, nothing]), np.concatenate([end, nothing])
        score = np.concatenate([score, null_score])
        text = pa.concat_arrays([text, pa.nulls(owners, pa.large_string())])
    offsets, kept = _best(prepared.owners, owner, score, qa.top_k)
    texts = text.take(pa.array(kept)).cast(pa.string())
    return Answers(offsets, texts, score[kept], start[kept], end[kept], null_score)


def _locate(prepared: Tokenized, places: TokenPositions, candidates: Candidates, align_to_words: bool) -> _Spans:
    window, place = np.nonzero(candidates.start >= 0)
    windows = prepared.windows
    passage = windows.passage[window]
    first, last = windows.first[window], windows.stop[window] - 1
    start = candidates.start[window, place] + first
    end = candidates.end[window, place] + first
    base = prepared.passage.offsets[passage]
    if align_to_words:
        word_first, word_last = places.word_first[base + start], places.word_last[base + end]
        in_words = (word_first >= 0) & (places.word_first[base + end] >= 0)
        # A word that the window's border cuts ends at the border, since the window's encoding ends there.
        start = np.where(in_words, np.maximum(word_first, first), start)
        end = np.where(in_words, np.minimum(word_last, last), end)
    return _Spans(
        owner=windows.owner[window],
        passage=passage,
        char_start=places.char_start[base + start],
        char_end=places.char_end[base + end],
        score=candidates.score[window, place].astype(np.float64),
    )


def _slice_texts(texts: pa.StringArray, index: Ints, start: Ints, end: Ints) -> pa.LargeStringArray:
    """`texts[index][start:end]` in code points, for all spans at once. Looks at no other texts than these."""
    used, place = np.unique(index, return_inverse=True)
    texts, index = texts.take(pa.array(used)), place.astype(np.int32)
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    byte_start, byte_end = _to_bytes(data, offsets, index, start), _to_bytes(data, offsets, index, end)
    lengths = np.maximum(byte_end - byte_start, 0)
    sliced = np.zeros(len(index) + 1, dtype=np.int64)
    np.cumsum(lengths, out=sliced[1:])
    body = data[segments(byte_start, lengths)]
    return pa.LargeStringArray.from_buffers(len(index), pa.py_buffer(sliced), pa.py_buffer(body))


def _to_bytes(data: npt.NDArray[np.uint8], offsets: Ints, index: Ints, chars: Ints) -> Longs:
    begin = offsets[index].astype(np.int64)
    if not (data & 0x80).any():
        return begin + chars
    leads = np.flatnonzero((data & 0xC0) != 0x80)
    nth = np.searchsorted(leads, begin) + chars
    positions: Longs = np.append(leads, len(data))[nth]
    return positions


def _merge(owner: Ints, text: pa.LargeStringArray, score: Doubles) -> tuple[Longs, Doubles]:
    """Positions of the first span of every (owner, lower-cased text), and the sums of their scores."""
    codes = _lower(text).dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    key = owner.astype(np.int64) * (len(text) + 1) + codes
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    total: Doubles = np.bincount(group, weights=score, minlength=len(first)).astype(np.float64)
    reading_order = np.argsort(first)
    return first[reading_order], total[reading_order]


def _lower(text: pa.LargeStringArray) -> pa.LargeStringArray:
    """`str.lower` of every text: Arrow's own lower-casing maps single code points and so differs beyond ASCII."""
    beyond = pc.invert(pc.string_is_ascii(text))
    lowered = [t.lower() for t in text.filter(beyond).to_pylist()]
    return pc.replace_with_mask(pc.utf8_lower(text), beyond, pa.array(lowered, type=pa.large_string()))


def _null_scores(prepared: Tokenized, candidates: Candidates) -> Doubles:
    owner = prepared.windows.owner
    begins = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]]) if len(owner) else owner.astype(np.int64)
    least: Doubles = np.minimum.reduceat(candidates.null_score.astype(np.float64), begins)
    return least


def _best(owners: int, owner: Ints, score: Doubles, top_k: int) -> tuple[Ints, Longs]:
    """Offsets of every owner's answers, and which of all they are, best first."""
    order = np.lexsort((-score, owner))
    ranked = owner[order]
    rank = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)
    kept = order[rank < top_k]
    offsets = np.zeros(owners + 1, dtype=np.int32)
    np.cumsum(np.bincount(owner[kept], minlength=owners), out=offsets[1:])
    return offsets, kept
