"""Which windows of the calls that wait share the next pass."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actors.arrays import Longs
from actors.engine.batcher import WindowQueue
from actors.engine.engine import Engine
from actors.scheduling.request import QueuedRequest

_PASSES = 8
"""Where much waits, a pass may take this part of it, since it pays to be large and nobody waits for one pass only."""


class Part(NamedTuple):
    """What one call has in a pass."""

    call: QueuedRequest
    windows: Longs
    """Positions of its windows."""


def next_pass(engine: Engine, first: QueuedRequest, calls: Sequence[QueuedRequest], quantum: float) -> list[Part]:
    """A pass for one call, with those windows of others that pay beside its own.

    What is brought is looked at longest first. Where the pass that pays best would not come down to the windows of
    `first`, the longest are left out.

    Args:
        calls: all who wait, `first` among them; every one has windows to bring. Those of another kind stay.
        quantum: seconds that the pass may be predicted to take; more where much waits, or one window takes longer.
    """
    alike = [first, *(call for call in calls if call is not first and call.work.kind == first.work.kind)]
    brought = [call.brings for call in alike]
    owner = np.repeat(np.arange(len(alike)), [len(windows) for windows in brought])
    window = np.concatenate(brought)
    lengths = np.concatenate([call.lengths[windows] for call, windows in zip(alike, brought, strict=True)])
    limit = max(quantum, sum(call.turn_seconds for call in alike) / _PASSES)

    order = np.argsort(-lengths, kind="stable")
    place = int(np.argmax(owner[order] == 0))

    def size_from(start: int) -> int:
        return engine.choose(WindowQueue(lengths[order[start:]]), limit)

    start, size = 0, size_from(0)
    for next_start in (place - size + 1, place):
        if start + size <= place:
            start, size = next_start, size_from(next_start)
    chosen = np.sort(order[start : start + size])
    return [Part(alike[i], window[chosen[owner[chosen] == i]]) for i in np.unique(owner[chosen])]
