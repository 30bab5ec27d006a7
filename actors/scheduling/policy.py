"""The scheduling policy: which of the queued online requests the next pass is for."""

import math
from collections.abc import Sequence

from actors.scheduling.request import QueuedRequest

MAX_REMAINDER_WAIT = 0.25
"""Seconds that remainders wait at most for first slices; then one of them has a pass."""
REMAINDER_PERIOD = 3.0
"""While first slices never stop coming, remainders get one part in this many of the device's time."""
_LONGEST_WAIT = 3600.0
"""Seconds; where requests may wait for ever, those that need little time are due before others all the same."""


class SchedulingPolicy:
    """First slices go before remainders, in the order in which their requests arrived.

    A request therefore never waits for the remainder of an earlier one. Remainders run when no first slice is queued,
    and for a third of the device's time while first slices never stop coming. Among remainders the one that is due
    first is next (see `due`); a longer one is due later. So requests of one size are finished in the order of their
    arrival, and a very large request delays only itself.
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
        self._remainder_due = min(self._remainder_due, now + MAX_REMAINDER_WAIT) if remainders else math.inf
        first_slices = (request for request in requests if request.first_slice_pending)
        first = min(first_slices, key=lambda request: request.arrived, default=None)
        if first is not None and first.arrived <= self._remainder_due:
            return first
        return min(remainders, key=_urgency)

    def ran_remainder(self, seconds: float) -> None:
        """Notes that the pass of a remainder took so long; the next one has its turn so much later."""
        self._remainder_due += REMAINDER_PERIOD * seconds

    def by_urgency(self, requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
        """First slices in the order of their arrival, then remainders as they are due."""
        first_slices = [request for request in requests if request.first_slice_pending]
        remainders = [request for request in requests if not request.first_slice_pending]
        return sorted(first_slices, key=lambda request: request.arrived) + sorted(remainders, key=_urgency)


def due(arrived: float, own: float, max_wait: float) -> float:
    """When a request should have all of its results, by the clock of its arrival.

    That is the longest wait and its own time after its arrival. A request whose own time is more than a quarter of the
    longest wait cannot have the device to itself for so long: it is due after the time that it takes with the share of
    the device that remainders are sure of, and half the longest wait. Short requests are due soon, and long ones are
    due in the end, whatever arrives after them.

    Args:
        own: predicted seconds of all windows of the request.
    """
    max_wait = min(max_wait, _LONGEST_WAIT)
    return arrived + max(max_wait + own, max_wait / 2 + REMAINDER_PERIOD * own)


def _urgency(request: QueuedRequest) -> tuple[float, float]:
    return request.due, request.arrived
