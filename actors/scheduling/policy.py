"""The scheduling policy: which of the queued online requests the next pass is for."""

import math
from collections.abc import Sequence

from actors.scheduling.request import QueuedRequest

_MAX_REMAINDER_WAIT = 1.0
"""Seconds that remainders wait at most for first slices; then one of them has a pass."""
_REMAINDER_PERIOD = 3.0
"""While first slices never stop coming, remainders get one part in this many of the device's time."""
FIRST_SLICE_SHARE = 1 - 1 / _REMAINDER_PERIOD
"""The part of the device's time that first slices get then."""
_DUE_FACTOR = 20.0
"""A remainder is due this many times its predicted time after its request arrived. Short ones are due soon, and long
ones are due in the end, whatever arrives after them."""


class SchedulingPolicy:
    """First slices go before remainders, in the order in which their requests arrived.

    A request therefore never waits for the remainder of an earlier one. Remainders run when no first slice is queued,
    and for a third of the device's time while first slices never stop coming. Among remainders the one that is due
    first is next; a longer one is due later. So requests of one size are finished in the order of their arrival, and a
    very large request delays only itself.
    """

    def __init__(self) -> None:
        """Starts with an empty queue."""
        self._remainder_due = math.inf

    def next(self, requests: Sequence[QueuedRequest], now: float) -> QueuedRequest:
        """The request that the next pass is for.

        Args:
            requests: at least one; every one has pending windows.
            now: by the monotonic clock, in seconds.
        """
        remainders = [request for request in requests if not request.first_slice_pending]
        self._remainder_due = min(self._remainder_due, now + _MAX_REMAINDER_WAIT) if remainders else math.inf
        first_slices = (request for request in requests if request.first_slice_pending)
        first = min(first_slices, key=lambda request: request.arrived, default=None)
        if first is not None and first.arrived <= self._remainder_due:
            return first
        remainder = min(remainders, key=_due)
        self._remainder_due += _REMAINDER_PERIOD * remainder.slice_seconds
        return remainder


def predicted_wait(request: QueuedRequest | None, queued: Sequence[QueuedRequest]) -> float:
    """Predicted seconds of the work that goes before a request that arrives now.

    It is what goes before its first slice, or what goes before its remainder where that is more.

    Args:
        request: None for one whose windows are not known yet; only its first slice is looked at then.
        queued: those that arrived before.
    """
    seconds = sum(other.slice_seconds for other in queued if other.first_slice_pending)
    if request is not None and len(request.pending) > request.slice_windows:
        earlier = sum(other.remainder_seconds for other in queued if _due(other) <= _due(request))
        seconds = max(seconds, earlier)
    return seconds


def _due(request: QueuedRequest) -> float:
    return request.arrived + _DUE_FACTOR * request.remainder_seconds
