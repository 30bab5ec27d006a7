"""Coalescing: which windows of the queued online requests share the next pass."""

from collections.abc import Sequence

import numpy as np

from actors.arrays import Longs
from actors.engine.engine import Engine
from actors.scheduling.request import QueuedRequest

_PASSES = 8
"""A pass may take one part in this many of the predicted time of all queued slices: where much is queued, large passes
save time, and no request waits for a single pass only."""


def next_pass(
    engine: Engine, first: QueuedRequest, requests: Sequence[QueuedRequest], quantum: float
) -> dict[QueuedRequest, Longs]:
    """Chooses a pass for one request, with windows of other requests where a shared pass pays.

    The candidates are the next slices of the most urgent requests, as many as fill the pass, longest windows first.
    Where the pass that pays best would not reach the windows of `first`, the longest windows are left out. A remainder
    brings as many windows as fit: where remainders took turns, all would be late together.

    Args:
        requests: all queued ones, `first` among them, the most urgent first; every one has pending windows. Those that
            want another kind of result than `first` have no part in the pass.
        quantum: seconds that the pass may be predicted to take; it may take more where much is queued, or where one
            window takes longer.

    Returns:
        The positions of the chosen windows of every request that has part in the pass.
    """
    kind = first.task.kind
    same_kind = [first, *(one for one in requests if one is not first and one.task.kind == kind)]
    limit = _limit(engine, same_kind, quantum)
    if not first.first_slice_pending and limit > first.slice_seconds:
        pending = first.lengths[first.pending]
        first.widen_slice(engine.windows_within(limit, int(pending.max()), len(pending), first.task))
    same_kind = _that_fill(engine, same_kind, limit)
    slices = [request.next_slice for request in same_kind]
    owner = np.repeat(np.arange(len(same_kind)), [len(windows) for windows in slices])
    window = np.concatenate(slices)
    lengths = np.concatenate([one.lengths[windows] for one, windows in zip(same_kind, slices, strict=True)])

    order = np.argsort(-lengths, kind="stable")
    place = int(np.argmax(owner[order] == 0))

    def size_from(start: int) -> int:
        return engine.choose(engine.queue(lengths[order[start:]], first.task), limit, first.task)

    start, size = 0, size_from(0)
    for next_start in (place - size + 1, place):
        if start + size <= place:
            start, size = next_start, size_from(next_start)
    chosen = np.sort(order[start : start + size])
    return {same_kind[i]: window[chosen[owner[chosen] == i]] for i in np.unique(owner[chosen])}


def _limit(engine: Engine, requests: Sequence[QueuedRequest], quantum: float) -> float:
    """Seconds that the next pass may take."""
    if requests[0].task.wanted.needs_layers:
        # Others wait as well, who do without what makes such a pass slow.
        return quantum
    sizes = np.sum([request.slice_size for request in requests], axis=0)
    windows, tokens, squares = sizes.tolist()
    return max(quantum, engine.predicted_at_best(windows, tokens, squares, requests[0].task) / _PASSES)


def _that_fill(engine: Engine, requests: Sequence[QueuedRequest], seconds: float) -> list[QueuedRequest]:
    """The first of several requests whose next slices are predicted to take so long together."""
    sizes = np.cumsum([request.slice_size for request in requests], axis=0)
    for number, (windows, tokens, squares) in enumerate(sizes.tolist(), 1):
        if engine.predicted_at_best(windows, tokens, squares, requests[0].task) >= seconds:
            return list(requests[:number])
    return list(requests)
