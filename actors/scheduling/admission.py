"""Admission: which online requests are taken, by the predicted work that goes before them."""

import math
from collections.abc import Iterable, Sequence

from actors.engine.engine import Engine
from actors.engine.pace import Pace
from actors.errors import QueueFull
from actors.scheduling.policy import MAX_REMAINDER_WAIT, REMAINDER_PERIOD, due
from actors.scheduling.request import QueuedRequest, WindowSizes

_CAUTION = 1.3
"""Predictions are means, and what is promised holds for nearly all."""


_MEMORY_SECONDS = 2.0
_MOST_FIRST = 1 - 1 / REMAINDER_PERIOD


class _Share:
    """Part of the device's time that goes to something, over the last seconds."""

    def __init__(self) -> None:
        self._share = 0.0
        self._seen = -math.inf

    def observe(self, seconds: float, now: float) -> None:
        self._share = self.at(now) + seconds / _MEMORY_SECONDS
        self._seen = now

    def at(self, now: float) -> float:
        return self._share * math.exp(-max(now - self._seen, 0.0) / _MEMORY_SECONDS) if self._share else 0.0


class Admission:
    """Takes a request where its wait is predicted to be shorter than a limit, and everybody else's stays so.

    The first slices of requests go first, so the wait of a small request is that for other first slices, and for the
    share that remainders have of the device. A remainder is promised its end: see `policy.due`. The promises of all
    are looked at with the new request among them, as if first slices went on coming as they do. How many requests there
    are does not matter, except to memory: there is a limit, far beyond what usually waits.
    """

    def __init__(self, engine: Engine, max_requests: int, max_wait: float) -> None:
        """Takes the limits; `max_wait` in seconds."""
        self._engine = engine
        self._max_requests = max_requests
        self._max_wait = max_wait
        self._pace = Pace(1.0)
        self._first_slices, self._remainders = _Share(), _Share()

    def backlog(self, queued: Iterable[QueuedRequest]) -> float:
        """Predicted seconds of all that is queued, in passes of the best size, where nothing else uses the device."""
        size, decoding, remainders = self._sizes(queued)
        return self._engine.predicted_at_best(*size) + decoding + remainders

    def observe(self, worked_off: float, seconds: float, of_first_slices: float, now: float) -> None:
        """Learns from a pass how long queued work takes here: passes are not of the best size, nor alone on a machine.

        Args:
            worked_off: what the `backlog` was less after it, in seconds.
            of_first_slices: part of the pass that was windows of first slices.
            now: when the pass ended.
        """
        self._pace.observe(worked_off, seconds)
        self._first_slices.observe(seconds * of_first_slices, now)
        self._remainders.observe(seconds * (1 - of_first_slices), now)

    def load(self, queued: Iterable[QueuedRequest], now: float) -> float:
        """The predicted wait of a small request behind the queued ones, in parts of the longest that is allowed."""
        return self._wait(queued, now) / self._max_wait

    def check(self, request: QueuedRequest, queued: Sequence[QueuedRequest], now: float) -> None:
        """Raises QueueFull where a request, which knows when it is due, is not to be queued behind others.

        Args:
            now: by the clock of the requests' arrival, in seconds.
        """
        if len(queued) >= self._max_requests:
            raise QueueFull(f"{len(queued)} requests wait already")
        seconds = self._wait(queued, now, request.remainder_seconds)
        # A single request may take longer than that, and must not shut out the next.
        if len(queued) > 1 and seconds > self._max_wait:
            raise QueueFull(f"{len(queued)} requests wait already, and {seconds:.1f} s of them go first")
        if request.remainder_seconds and self._breaks_a_promise(request, queued, now):
            raise QueueFull(f"{len(queued)} requests wait already, and large ones among them would be late")

    def _wait(self, queued: Iterable[QueuedRequest], now: float, new_remainder: float = 0.0) -> float:
        """Predicted seconds until a first slice that is queued now has its pass.

        Those of other first slices go before it, and so do remainders with their share, where there are enough of
        them: as many as wait now, or as have come of late.
        """
        size, decoding, remainders = self._sizes(queued)
        first = self._seconds(self._engine.predicted_at_best(*size) + decoding)
        most = first / (REMAINDER_PERIOD - 1)
        of_late = min(self._remainders.at(now), 1 / REMAINDER_PERIOD)
        return first + min(most, max(self._seconds(remainders + new_remainder), first * of_late / (1 - of_late)))

    def _sizes(self, queued: Iterable[QueuedRequest]) -> tuple[WindowSizes, float, float]:
        """Of first slices that share passes; predicted seconds of finding their spans, and of all other first slices;
        and those of all remainders.
        """
        windows = tokens = squares = 0
        decoding = remainders = 0.0
        for request in queued:
            if request.first_slice_pending and request.task.wanted.needs_layers:
                # Its passes cost otherwise, and are hardly ever shared.
                decoding += request.slice_seconds
            elif request.first_slice_pending:
                windows += request.slice_size.windows
                tokens += request.slice_size.tokens
                squares += request.slice_size.squares
                decoding += request.slice_decoding
            remainders += request.remainder_seconds
        return WindowSizes(windows, tokens, squares), decoding, remainders

    def _breaks_a_promise(self, request: QueuedRequest, queued: Iterable[QueuedRequest], now: float) -> bool:
        """Whether the request would be late, or another that is due after it."""
        others = [one for one in queued if one.remainder_seconds]
        if not others:
            return False
        stretch = min(1 / (1 - min(self._first_slices.at(now), _MOST_FIRST)), REMAINDER_PERIOD)
        free = now + MAX_REMAINDER_WAIT
        for one in sorted((*others, request), key=lambda one: one.due):
            free += stretch * self._seconds(one.remainder_seconds)
            if one.due >= request.due and free > one.due:
                return True
        return False

    def due(self, request: QueuedRequest) -> float:
        """When a request that has just arrived should have all of its results, by the clock of its arrival."""
        return due(request.arrived, self._pace.seconds_per_unit * request.own_seconds, self._max_wait)

    def _seconds(self, predicted: float) -> float:
        return _CAUTION * self._pace.seconds_per_unit * predicted
