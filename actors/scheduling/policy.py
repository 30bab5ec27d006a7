"""Who is next on the device, of the online calls that wait."""

import math
from collections.abc import Sequence

from actors.scheduling.request import QueuedRequest

_PATIENCE = 1.0
"""Seconds that the rests of calls wait at most for the first turns of those who came meanwhile."""
_SHARE = 3.0
"""While there are always first turns, rests have one part in so many of the device."""
FIRST_TURNS = 1 - 1 / _SHARE
"""What first turns have of the device then."""
_STRETCH = 20.0
"""A rest is due so many times the time it takes after its call came: short ones soon, and long ones too, in the end."""


class SchedulingPolicy:
    """First turns go first, in the order they came: so nobody waits for the rest of a call that came before.

    The rests of calls with more windows than fit a turn are taken when no first turn waits, and a third of the time
    where some always do. Of the rests the one that is due first is next: the more of it is left, the later it is due.
    So calls of one size are finished in the order they came, and a huge one holds nobody up.
    """

    def __init__(self) -> None:
        """Begins with nobody."""
        self._rests_due = math.inf

    def next(self, calls: Sequence[QueuedRequest], now: float) -> QueuedRequest:
        """The call that the next pass is for.

        Args:
            calls: at least one; every one has windows that wait.
            now: by the monotonic clock.
        """
        rests = [call for call in calls if not call.fresh]
        self._rests_due = min(self._rests_due, now + _PATIENCE) if rests else math.inf
        first_turns = (call for call in calls if call.fresh)
        first = min(first_turns, key=lambda call: call.arrived, default=None)
        if first is not None and first.arrived <= self._rests_due:
            return first
        rest = min(rests, key=_rest_due)
        self._rests_due += _SHARE * rest.turn_seconds
        return rest


def seconds_before(call: QueuedRequest | None, calls: Sequence[QueuedRequest]) -> float:
    """Predicted time of what goes before a call that comes now: before its first turn, or its rest where that is more.

    Args:
        call: None for one of which nothing is known yet: its first turn.
        calls: those who wait.
    """
    seconds = sum(other.turn_seconds for other in calls if other.fresh)
    if call is not None and len(call.waiting) > call.turn:
        seconds = max(seconds, sum(other.seconds_of_rest for other in calls if _rest_due(other) <= _rest_due(call)))
    return seconds


def _rest_due(call: QueuedRequest) -> float:
    return call.arrived + _STRETCH * call.seconds_of_rest
