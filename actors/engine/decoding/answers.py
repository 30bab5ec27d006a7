"""Merges the candidate spans of windows into the answers of rows: text, offsets and scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Doubles, Ints, Longs
from actors.candidates import Candidates
from actors.engine.decoding.passages import Hashes, Passages
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
    candidate: Longs
    """[A] which candidate an answer has its place of, counted through the windows of its `Candidates` and their K
    places; -1 where the model abstains."""

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
            candidate=np.concatenate([part.candidate for part in parts]),
        )


@dataclass(frozen=True)
class _Spans:
    """Candidates of all windows, end to end, in reading order of the windows and best first; every array is [N]."""

    owner: Longs
    text: Longs
    """Number of the owner's passage."""
    start: Ints
    """First code point."""
    end: Ints
    """Code point after the last."""
    score: Doubles
    candidate: Longs
    """As in `Answers`."""


def read_answers(prepared: Tokenized, candidates: Candidates, qa: QAParameters) -> Answers:
    """Merges the candidates of each row's windows, as transformers 4.57.6 does.

    Spans with equal text (compared in lower case) are one answer: it keeps the place of the first and the
    sum of all scores. With `handle_impossible_answer`, abstaining has the least null score of the windows.

    Args:
        candidates: of all windows of `prepared`, in order.
    """
    if prepared.places is None or prepared.texts is None:
        raise ValueError("these windows were prepared for embedding: they hold no places to read answers from")
    parts = list[Answers]()
    for windows in _parts(prepared, candidates):
        part = _read(prepared.part(windows), prepared.places, prepared.texts, candidates.part(windows), qa)
        part.candidate[part.candidate >= 0] += windows.start * candidates.start.shape[1]
        parts.append(part)
    return Answers.joined(parts)


def _parts(prepared: Tokenized, candidates: Candidates) -> Iterator[slice]:
    """The windows of some owners, so many at a time that merging them takes little memory; once at least."""
    windows, owners = prepared.windows, prepared.owners
    bounds = np.append(prepared.first_windows, len(windows))
    spans = bounds * candidates.start.shape[1]
    text = np.concatenate([[0], np.cumsum(prepared.text_bytes()[windows.passage[prepared.first_windows]])])
    first = 0
    while first < owners or not first:
        last = min(
            int(np.searchsorted(spans, spans[first] + _MOST_SPANS, "right")),
            int(np.searchsorted(text, text[first] + _MOST_BYTES, "right")),
        )
        stop = min(max(last - 1, first + 1), owners)
        yield slice(int(bounds[first]), int(bounds[stop]))
        first = max(stop, 1)


def _read(
    prepared: Tokenized, places: TokenPositions, texts: pa.StringArray, candidates: Candidates, qa: QAParameters
) -> Answers:
    passages, text = Passages.of(texts, prepared.windows.passage)
    spans = _locate(prepared, places, candidates, text, qa.align_to_words)
    merged, score = _merge(spans, passages)
    owner, null_score = spans.owner[merged], _null_scores(prepared, candidates)
    abstentions = np.arange(prepared.owners if qa.handle_impossible_answer else 0)
    if qa.top_k == 1:
        # An answer below the best of its row is none: nearly all are left out before anything is sorted.
        best = _best_scores(prepared.owners, owner, score)
        abstentions = abstentions[null_score[abstentions] > best[abstentions]]
        kept = np.flatnonzero(score == best[owner])
        merged, owner, score = merged[kept], owner[kept], score[kept]
    # Abstaining has no place in any passage, and comes after all spans of its score.
    merged = np.concatenate([merged, np.full(len(abstentions), len(spans.owner))])
    owner = np.concatenate([owner, abstentions])
    score = np.concatenate([score, null_score[abstentions]])
    offsets, kept = _best(prepared.owners, owner, score, qa.top_k)
    return _answers(spans, passages, merged[kept], offsets, score[kept], null_score)


def _answers(
    spans: _Spans, passages: Passages, chosen: Longs, offsets: Ints, score: Doubles, null_score: Doubles
) -> Answers:
    """Answers at these positions, [A], among the spans; those past the last abstain."""
    abstains = chosen == len(spans.owner)
    own = chosen[~abstains]
    start, end = np.full(len(chosen), -1, dtype=np.int32), np.full(len(chosen), -1, dtype=np.int32)
    start[~abstains], end[~abstains] = spans.start[own], spans.end[own]
    candidate = np.full(len(chosen), -1, dtype=np.int64)
    candidate[~abstains] = spans.candidate[own]
    text = passages.slices(spans.text[own], spans.start[own], spans.end[own]).cast(pa.string())
    if len(own) < len(chosen):
        text = text.take(pa.array(np.cumsum(~abstains) - 1, mask=abstains))
    return Answers(offsets, text, score, start, end, null_score, candidate)


def _locate(
    prepared: Tokenized, places: TokenPositions, candidates: Candidates, text: Longs, align_to_words: bool
) -> _Spans:
    """Where the candidates stand in their passages; `text`, [n], is the number of each window's passage."""
    windows = prepared.windows
    found = np.flatnonzero(candidates.start.reshape(-1) >= 0)
    window = np.repeat(np.arange(len(windows)), candidates.start.shape[1])[found]
    base = prepared.passage.offsets[windows.passage]
    origin = base + windows.first
    start = origin[window] + candidates.start.reshape(-1)[found]
    end = origin[window] + candidates.end.reshape(-1)[found]
    if align_to_words:
        word_first, word_last = places.word_first[start], places.word_last[end]
        in_words = (word_first >= 0) & (word_last >= 0)
        # A word that the window's border cuts ends at the border, since the window's encoding ends there.
        start = np.where(in_words, np.maximum(base[window] + word_first, origin[window]), start)
        end = np.where(in_words, np.minimum(base[window] + word_last, (base + windows.stop - 1)[window]), end)
    return _Spans(
        owner=windows.owner[window].astype(np.int64),
        text=text[window],
        start=places.char_start[start],
        end=places.char_end[end],
        score=candidates.score.reshape(-1)[found].astype(np.float64),
        candidate=found,
    )


def _merge(spans: _Spans, passages: Passages) -> tuple[Longs, Doubles]:
    """Positions of the first span of every (owner, lower-cased text), and the sums of their scores.

    Only spans of one row whose hashes are equal can have equal texts, and those at one place have: few texts are read.
    """
    order, group = _grouped(spans.owner, passages.hashes(spans.text, spans.start, spans.end))
    first = order[np.flatnonzero(np.diff(group, prepend=-1))]
    elsewhere = (spans.start[order] != spans.start[first][group]) | (spans.end[order] != spans.end[first][group])
    if elsewhere.any():
        unsure = np.zeros(len(first), dtype=bool)
        unsure[group[elsewhere]] = True
        some = np.flatnonzero(unsure[group])
        own = order[some]
        text = _lower(passages.slices(spans.text[own], spans.start[own], spans.end[own]))
        codes = text.dictionary_encode().indices.to_numpy(zero_copy_only=False)
        same = codes == codes[np.searchsorted(group[some], group[some])]
        if not same.all():
            exact = np.zeros(len(group), dtype=np.int64)
            exact[some] = codes
            _, index, group = np.unique(group * len(group) + exact, return_index=True, return_inverse=True)
            first = order[index]
    total = np.zeros(len(order))
    total[first] = np.bincount(group, weights=spans.score[order], minlength=len(first))
    is_first = np.zeros(len(order), dtype=bool)
    is_first[first] = True
    reading_order = np.flatnonzero(is_first)
    return reading_order, total[reading_order]


def _grouped(owner: Longs, hashes: Hashes) -> tuple[Longs, Longs]:
    """Spans by owner and hash, [N], and within that in their order; and a number for each such group, [N], ascending.

    Of a hash, as many bits count as are left beside the owner and the span's own number: all are sorted at once.
    """
    most = np.uint64(max(int(owner.max(initial=0)).bit_length(), 1))
    own = np.uint64((1 << len(owner).bit_length()) - 1)
    key = owner.astype(np.uint64) << (np.uint64(64) - most)
    key |= hashes >> most
    key &= ~own
    key |= np.arange(len(owner), dtype=np.uint64)
    key.sort()
    order = (key & own).astype(np.int64)
    key &= ~own
    group = np.zeros(len(key), dtype=np.int64)
    np.cumsum(key[1:] != key[:-1], out=group[1:])
    return order, group


def _lower(text: pa.LargeStringArray) -> pa.LargeStringArray:
    """`str.lower` of every text: Arrow's own lower-casing maps single code points and so differs beyond ASCII."""
    beyond = pc.invert(pc.string_is_ascii(text))
    lowered = [t.lower() for t in text.filter(beyond).to_pylist()]
    return pc.replace_with_mask(pc.utf8_lower(text), beyond, pa.array(lowered, type=pa.large_string()))


def _null_scores(prepared: Tokenized, candidates: Candidates) -> Doubles:
    least: Doubles = np.minimum.reduceat(candidates.null_score.astype(np.float64), prepared.first_windows)
    return least


def _best_scores(owners: int, owner: Longs, score: Doubles) -> Doubles:
    """[owners] the most that a span of each has; -inf where it has none. Spans are there owner by owner."""
    best = np.full(owners, -np.inf)
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    if len(begins):
        best[owner[begins]] = np.maximum.reduceat(score, begins)
    return best


def _best(owners: int, owner: Longs, score: Doubles, top_k: int) -> tuple[Ints, Longs]:
    """Offsets of every owner's answers, and which of all they are, best first; of equal scores the first."""
    by_score = np.argsort(-score)
    rank = np.zeros(len(score), dtype=np.int64)
    rank[by_score[1:]] = np.cumsum(score[by_score[1:]] != score[by_score[:-1]])
    bits = len(score).bit_length()
    # One sort of plain numbers takes a tenth of the time of one by several keys.
    key = (owner << 2 * bits) | (rank << bits) | np.arange(len(score))
    key.sort()
    ranked = key >> 2 * bits
    nth = np.arange(len(ranked)) - np.searchsorted(ranked, ranked)
    kept = (key & ((1 << bits) - 1))[nth < top_k]
    offsets = np.zeros(owners + 1, dtype=np.int32)
    np.cumsum(np.bincount(owner[kept], minlength=owners), out=offsets[1:])
    return offsets, kept
