"""The column attribution: which tokens of question and passage an answer's first and last token attended to."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from actors.arrays import Floats, Longs, Shorts
from actors.backends.layer_output import MOST_SHARES, AnswerRows, Attribution
from actors.batch import Batch
from actors.engine.decoding.rows import checked, list_offsets, of_rows
from actors.engine.decoding.token_texts import WindowTokens

SHARE = pa.struct(
    [
        ("part", pa.string()),
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("from_start", pa.float32()),
        ("from_end", pa.float32()),
    ]
)
"""A token of question or passage, and what the answer's first token (from_start) and last token (from_end) attended to
it: summed over heads, mean over layers. start and end are code points of its part."""


def answer_rows(tokens: WindowTokens, chosen: Longs, batch: Batch, align_to_words: bool) -> AnswerRows:
    """Where answers begin and end in some windows, by where candidates do.

    As in `decoding.answers`, an answer is widened to whole words; one that the window's border cuts ends there.

    Args:
        chosen: [n] positions of the batch's windows.
    """
    prepared, n, width = tokens.prepared, batch.windows, batch.width
    first = np.full((n, width), -1, dtype=np.int32)
    last = np.full((n, width), -1, dtype=np.int32)
    if align_to_words and prepared.places is not None:
        windows, start = prepared.windows, batch.passage_start
        lengths = batch.passage_length
        row = np.repeat(np.arange(n), lengths)
        within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        begin, stop = windows.first[chosen], windows.stop[chosen]
        source = prepared.passage.offsets[windows.passage[chosen]][row] + begin[row] + within
        place = start[row] + within
        shift = (start - begin)[row]
        word_first, word_last = prepared.places.word_first[source], prepared.places.word_last[source]
        first[row, place] = np.where(word_first < 0, -1, np.maximum(word_first, begin[row]) + shift)
        last[row, place] = np.where(word_last < 0, -1, np.minimum(word_last, stop[row] - 1) + shift)
    return AnswerRows(first, last, tokens.is_text(chosen, width))


@dataclass(frozen=True)
class AnswerAttribution:
    """The attribution of one answer an owner, N of them, or of every candidate of windows."""

    window: Longs
    """[N] whose tokens the targets are; -1 where there is no answer."""
    targets: Shorts
    """[N, K] -1 in unused places."""
    from_start: Floats
    """[N, K]"""
    from_end: Floats
    """[N, K]"""

    @classmethod
    def joined(cls, parts: list["AnswerAttribution"]) -> "AnswerAttribution":
        """Of several rounds, end to end; targets of all are as many."""
        return cls(*(np.concatenate(values) for values in zip(*(vars(part).values() for part in parts), strict=True)))

    def column(self, tokens: WindowTokens) -> pa.ListArray:
        """[R] lists of `SHARE`, heaviest first; null where there is no answer."""
        used = (self.targets >= 0) & (self.window >= 0)[:, None]
        window = np.broadcast_to(self.window[:, None], used.shape)[used]
        described = tokens.describe(window, self.targets[used].astype(np.int64))
        own = {name: described.field(name) for name in ("part", "text", "start", "end")}
        shares = [*own.values(), pa.array(self.from_start[used]), pa.array(self.from_end[used])]
        structs = pa.StructArray.from_arrays(shares, fields=list(SHARE))
        offsets = list_offsets(used.sum(axis=1), "tokens of attribution")
        lists = pa.ListArray.from_arrays(offsets, structs, mask=pa.array(self.window < 0))
        return of_rows(lists, tokens.prepared)


class RoundAttribution:
    """Collects the attribution of every candidate of some windows, until it is known which of them are answers."""

    def __init__(self, windows: Longs, candidates: int) -> None:
        """Takes the positions of the windows, [w], and the number of candidates of each."""
        self._windows = windows
        shape = len(windows), candidates, MOST_SHARES
        self._targets = np.full(shape, -1, dtype=np.int16)
        self._from_start, self._from_end = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def keep(self, places: Longs, found: Attribution) -> None:
        """Takes what was found for the windows at these places among those of the round.

        Tasks that share a pass may want more candidates than this one: its own are the first of them.
        """
        _, found_candidates, most = found.targets.shape
        candidates = slice(min(found_candidates, self._targets.shape[1]))
        own = (places, candidates, slice(most))
        self._targets[own] = found.targets[:, candidates]
        self._from_start[own] = checked(found.from_start[:, candidates])
        self._from_end[own] = checked(found.from_end[:, candidates])

    def of_answers(self, candidate: Longs) -> AnswerAttribution:
        """Of the candidates with these numbers, [N], counted through the round's windows and their places; -1: none."""
        is_found, k = candidate >= 0, self._targets.shape[1]
        window, place = np.divmod(np.maximum(candidate, 0), k)
        return AnswerAttribution(
            np.where(is_found, self._windows[window], -1),
            self._targets[window, place],
            self._from_start[window, place],
            self._from_end[window, place],
        )
