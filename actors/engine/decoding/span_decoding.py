"""Finds the best answer spans of every window in its start and end logits."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from actors.arrays import Flags, Floats, Longs
from actors.batch import Batch
from actors.candidates import Candidates

_MOST_SCORES = 1 << 20
"""Spans that are scored at once; each takes some 20 bytes."""
_SOFTMAX_WORK = 4
"""Cost of the two softmaxes for a token, in spans that are scored."""


def candidates_wanted(top_k: int, align_to_words: bool) -> int:
    """Spans kept per window: aligning to words merges some, so more are kept (transformers 4.57.6's rule)."""
    return top_k * 2 + 10 if align_to_words else top_k


def decoding_work(width: int, k: int, max_answer_len: int) -> int:
    """What `best_spans` costs for one window of `width` tokens, in spans that are scored: some 10 ns each."""
    return min(k, width) * min(max_answer_len, width) + _SOFTMAX_WORK * width


def best_spans(start_logits: Floats, end_logits: Floats, batch: Batch, k: int, max_answer_len: int) -> Candidates:
    """The k most probable spans of every window.

    The softmax of a window runs over its passage tokens and its CLS token, as in transformers 4.57.6
    (`select_starts_ends`). Only spans of at most `max_answer_len` passage tokens are ever scored: the best
    spans begin at the k starts with the best single span, so no more than k * max_answer_len are compared.

    Args:
        start_logits, end_logits: [n, S] float32; what stands on padding is ignored.
    """
    passage, allowed = batch.passage_mask, batch.answer_mask
    start = _log_softmax(start_logits, allowed)
    end = _log_softmax(end_logits, allowed)
    null = np.zeros(batch.windows, dtype=np.float32)
    if batch.cls is not None:
        rows = np.arange(batch.windows)
        null = np.exp(start[rows, batch.cls] + end[rows, batch.cls])
    start = np.where(passage, start, -np.inf)
    end = np.where(passage, end, -np.inf)
    longest = min(max_answer_len, batch.width)
    step = max(_MOST_SCORES // (min(k, batch.width) * longest), 1)
    parts = [_top_spans(start[i : i + step], end[i : i + step], k, longest) for i in range(0, batch.windows, step)]
    s, e, log_score = (np.concatenate(values) for values in zip(*parts, strict=True))
    found = np.isfinite(log_score)
    offset = batch.passage_start[:, None]
    return Candidates(
        start=np.where(found, s - offset, -1).astype(np.int32),
        end=np.where(found, e - offset, -1).astype(np.int32),
        score=np.exp(log_score),
        null_score=null,
    )


def token_probabilities(logits: Floats, batch: Batch) -> Floats:
    """[n, S] of start or end logits: the softmax of every window over where an answer may begin or end, as in
    `best_spans`; 0 elsewhere.

    Args:
        logits: [n, S] float32; what stands on padding is ignored.
    """
    probabilities: Floats = np.exp(_log_softmax(logits, batch.answer_mask))
    return probabilities


def _log_softmax(logits: Floats, allowed: Flags) -> Floats:
    masked = np.where(allowed, logits, np.float32(-np.inf))
    masked -= masked.max(axis=1, keepdims=True)
    masked -= np.log(np.exp(masked).sum(axis=1, keepdims=True))
    return masked


def _top_spans(start: Floats, end: Floats, k: int, longest: int) -> tuple[Longs, Longs, Floats]:
    n, width = start.shape
    padded_end = np.full((n, width + longest - 1), -np.inf, dtype=np.float32)
    padded_end[:, :width] = end
    best_from = start + _sliding_max(padded_end, longest, width)
    starts = _top_columns(best_from, min(k, width))
    rows = np.arange(n)[:, None]
    spans = sliding_window_view(padded_end, longest, axis=1)[rows, starts]
    spans += start[rows, starts][:, :, None]
    flat = spans.reshape(n, -1)
    chosen = _top_columns(flat, min(k, flat.shape[1]))
    s = starts[rows, chosen // longest]
    return s, s + chosen % longest, flat[rows, chosen]


def _sliding_max(padded: Floats, length: int, width: int) -> Floats:
    """[n, width] maximum of every `length` neighbours, by doubling the reach."""
    reach, best = 1, padded
    while reach * 2 <= length:
        best = np.maximum(best[:, :-reach], best[:, reach:])
        reach *= 2
    rest = length - reach
    return np.maximum(best[:, :width], best[:, rest : rest + width])


def _top_columns(values: Floats, k: int) -> Longs:
    """[n, k] columns of the k largest values of every row, largest first; ties go to the left."""
    # Whole numbers in the order of the values (-0 is added to 0, being equal to it), and each with its column below it:
    # numpy sorts plain numbers several times as fast as it finds their order.
    bits = (values + np.float32(0)).view(np.int32)
    bits ^= (bits >> 31) & 0x7FFF_FFFF
    keys = np.invert(bits).astype(np.int64)
    keys <<= 32
    keys |= np.arange(values.shape[1])
    keys.sort(axis=1)
    chosen: Longs = keys[:, :k] & 0xFFFF_FFFF
    return chosen
