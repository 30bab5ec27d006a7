"""The best spans of windows, found where their logits are: only they travel back, and not two numbers for each token.

The rules, and what happens to equal scores, are those of `actors.engine.decoding.span_decoding.best_spans`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from actors.arrays import Longs
from actors.backends.pytorch.transfer import Transfer
from actors.batch import Batch
from actors.candidates import Candidates, SpanSearch

_MOST_SCORES = 1 << 24
"""Spans that are scored at once; each takes some 40 bytes of the device's memory while they are sorted."""
_NEVER = -torch.inf


class FoundSpans(NamedTuple):
    """The K best spans of n windows, as they travel from the device."""

    start: Tensor
    """[n, K] int32; -1 in unused places."""
    end: Tensor
    score: Tensor
    """[n, K] float32"""
    null_score: Tensor
    """[n] float32"""


class _Places(NamedTuple):
    """Of n windows, int64."""

    passage_start: Tensor
    """[n] index of each window's first passage token."""
    passage_length: Tensor
    """[n]"""
    cls: Tensor | None
    """[n] index of each window's CLS token; None where the tokenizer has none."""

    def map(self, change: Callable[[Tensor], Tensor]) -> "_Places":
        cls = None if self.cls is None else change(self.cls)
        return _Places(change(self.passage_start), change(self.passage_length), cls)


@dataclass(frozen=True)
class SpanFinder:
    """Finds what is asked for in the windows of one pass."""

    transfer: Transfer
    places: _Places
    """Staged."""
    groups: tuple[tuple[int, Longs], ...]
    """Length of the longest answer, and which windows have it, [m]; together all windows."""
    k: int
    """Of the search that wants most."""

    @classmethod
    def of(cls, batch: Batch, order: Longs, searches: Sequence[SpanSearch], transfer: Transfer) -> "SpanFinder":
        """For windows in the order in which the device has them: `order`, [n], says which of the batch each is."""
        longest = np.zeros(batch.windows, dtype=np.int64)
        for search in searches:
            longest[search.windows] = search.max_answer_len
        longest = longest[order]
        groups = tuple((int(length), np.flatnonzero(longest == length)) for length in np.unique(longest))
        return cls(
            transfer,
            _Places(
                transfer.stage(batch.passage_start[order]),
                transfer.stage(batch.passage_length[order]),
                None if batch.cls is None else transfer.stage(batch.cls[order]),
            ),
            groups,
            max(search.k for search in searches),
        )

    def find(self, start: Tensor, end: Tensor) -> FoundSpans:
        """As `find_on_device`; what comes back is on its way to the host."""
        return self.to_host(self.find_on_device(start, end))

    def to_host(self, found: FoundSpans) -> FoundSpans:
        """Sends what was found on its way."""
        return FoundSpans(*(self.transfer.to_host(values) for values in found))

    def find_on_device(self, start: Tensor, end: Tensor) -> FoundSpans:
        """Looks through logits, [n, S] each on the device, in any precision; what comes back stays there.

        What stands on padding is ignored.
        """
        places = self.places.map(self.transfer.to_device)
        if len(self.groups) == 1:
            return _find_in_parts(start, end, places, self.k, self.groups[0][0])
        return self._find_by_length(start, end, places)

    def _find_by_length(self, start: Tensor, end: Tensor, places: _Places) -> FoundSpans:
        n, most = len(start), min(self.k, start.shape[1] * max(length for length, _ in self.groups))
        room = FoundSpans(
            torch.full((n, most), -1, dtype=torch.int32, device=start.device),
            torch.full((n, most), -1, dtype=torch.int32, device=start.device),
            torch.zeros((n, most), device=start.device),
            torch.zeros(n, device=start.device),
        )
        for length, windows in self.groups:
            own = self.transfer.to_device(self.transfer.stage(windows))
            some = _find_in_parts(start[own], end[own], places.map(itemgetter(own)), self.k, length)
            width = some.start.shape[1]
            for values, target in zip(some[:3], room[:3], strict=True):
                target[own, :width] = values
            room.null_score[own] = some.null_score
        return room


def read_candidates(found: FoundSpans, order: Longs) -> Candidates:
    """What was found, once the device is done, in the order of the batch; `order` as in `SpanFinder.of`."""
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return Candidates(*(values.numpy()[back] for values in found))


def _find_in_parts(start: Tensor, end: Tensor, places: _Places, k: int, longest: int) -> FoundSpans:
    longest = min(longest, start.shape[1])
    step = max(_MOST_SCORES // (min(k, start.shape[1]) * longest), 1)
    parts = []
    for first in range(0, len(start), step):
        own = slice(first, first + step)
        parts.append(_find(start[own], end[own], places.map(itemgetter(own)), k, longest))
    return parts[0] if len(parts) == 1 else FoundSpans(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _find(start: Tensor, end: Tensor, places: _Places, k: int, longest: int) -> FoundSpans:
    passage_start, passage_length, cls = places
    columns = torch.arange(start.shape[1], device=start.device)
    passage = (columns >= passage_start[:, None]) & (columns < (passage_start + passage_length)[:, None])
    allowed = passage if cls is None else passage | (columns == cls[:, None])
    start, end = (torch.log_softmax(logits.float().masked_fill(~allowed, _NEVER), 1) for logits in (start, end))
    if cls is None:
        null = torch.zeros(len(start), device=start.device)
    else:
        null = torch.exp((start + end).gather(1, cls[:, None])[:, 0])
    start, end = (logits.masked_fill(~passage, _NEVER) for logits in (start, end))
    first, last, score = _top_spans(start, end, k, longest)
    is_span, offset = torch.isfinite(score), passage_start[:, None]
    return FoundSpans(
        torch.where(is_span, first - offset, -1).to(torch.int32),
        torch.where(is_span, last - offset, -1).to(torch.int32),
        torch.exp(score),
        null,
    )


def _top_spans(start: Tensor, end: Tensor, k: int, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """As `span_decoding._top_spans`."""
    n = len(start)
    padded_end = torch.nn.functional.pad(end, (0, longest - 1), value=_NEVER)
    reachable = padded_end.unfold(1, longest, 1)
    starts = _top(start + reachable.amax(2), k).indices
    spans = start.gather(1, starts)[:, :, None] + reachable.gather(1, starts[:, :, None].expand(-1, -1, longest))
    chosen = _top(spans.reshape(n, -1), k)
    first = starts.gather(1, chosen.indices // longest)
    return first, first + chosen.indices % longest, chosen.values


class _Top(NamedTuple):
    values: Tensor
    indices: Tensor


def _top(values: Tensor, k: int) -> _Top:
    """The k largest of every row, largest first; ties go to the left, which `torch.topk` does not promise."""
    found = torch.sort(values, dim=1, descending=True, stable=True)
    return _Top(found.values[:, :k], found.indices[:, :k])
