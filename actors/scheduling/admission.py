"""Admission: which online requests are taken, by the predicted work that goes before them."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from actors.engine.engine import Engine
from actors.engine.pace import Pace
from actors.errors import QueueFull
from actors.scheduling.policy import MAX_REMAINDER_WAIT, REMAINDER_PERIOD, due
from actors.scheduling.request import QueuedRequest
from actors.tenants import TenantWeights

_CAUTION = 1.3
"""Predictions are means, and what is promised holds for nearly all."""


_MEMORY_SECONDS = 2.0
_MOST_FIRST = 1 - 1 / REMAINDER_PERIOD
_ABSENT = 0.01
"""A tenant that had less than this part of the device of late, and for whom nothing waits, is not there."""


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


@dataclass
class _Use:
    """Parts of the device's time that went to a tenant."""

    first_slices: _Share = field(default_factory=_Share)
    remainders: _Share = field(default_factory=_Share)

    def at(self, now: float) -> float:
        return self.first_slices.at(now) + self.remainders.at(now)


@dataclass(frozen=True)
class _Backlog:
    """What a tenant has queued, in predicted seconds of passes of the best size."""

    first_slices: float = 0.0
    remainders: float = 0.0


class Admission:
    """Takes a request where its wait is predicted to be shorter than a limit, and everybody else's stays so.

    The first slices of requests go first, so the wait of a small request is that for other first slices, and for the
    share that remainders have of the device. A remainder is promised its end: see `policy.due`. The promises of all
    are looked at with the new request among them, as if first slices went on coming as they do. How many requests there
    are does not matter, except to memory: there is a limit, far beyond what usually waits.

    Each tenant is measured by its own queue and its share of the device. What others have queued counts as far as it
    goes before: while the tenant's own is computed, each of them gets by its weight, and at most what it has queued. So
    nobody is refused because another tenant asks too much. Requests that were taken while their tenant was alone wait
    longer than the limit where others come later.
    """

    def __init__(
        self, engine: Engine, max_requests: int, max_wait: float, weights: TenantWeights | None = None
    ) -> None:
        """Takes the limits; `max_wait` in seconds. Without weights there is one tenant."""
        self._engine = engine
        self._max_requests = max_requests
        self._max_wait = max_wait
        self._weights = weights or TenantWeights()
        self._pace = Pace(1.0)
        self._uses: defaultdict[str, _Use] = defaultdict(_Use)

    def backlog(self, queued: Iterable[QueuedRequest]) -> float:
        """Predicted seconds of all that is queued, in passes of the best size, where nothing else uses the device."""
        found = self._backlog(queued)
        return found.first_slices + found.remainders

    def observe(self, worked_off: float, seconds: float, parts: Mapping[str, tuple[float, float]], now: float) -> None:
        """Learns from a pass how long queued work takes here: passes are not of the best size, nor alone on a machine.

        Args:
            worked_off: what the `backlog` was less after it, in seconds.
            parts: by tenant, the part of the pass that was windows of first slices, and that of remainders.
            now: when the pass ended.
        """
        self._pace.observe(worked_off, seconds)
        for tenant, (of_first_slices, of_remainders) in parts.items():
            self._uses[tenant].first_slices.observe(seconds * of_first_slices, now)
            self._uses[tenant].remainders.observe(seconds * of_remainders, now)

    def loads(self, queued: Iterable[QueuedRequest], now: float) -> dict[str, float]:
        """By tenant that waits: the predicted wait of a small request of its own, in parts of the longest allowed."""
        backlogs = self._backlogs(queued)
        return {tenant: self._wait(tenant, backlogs, now) / self._max_wait for tenant in backlogs}

    def check(self, request: QueuedRequest, queued: Sequence[QueuedRequest], now: float) -> None:
        """Raises QueueFull where a request, which knows when it is due, is not to be queued behind others.

        Args:
            now: by the clock of the requests' arrival, in seconds.
        """
        numbers = Counter(other.tenant for other in queued)
        if not self._weights.fits(request.tenant, 1, numbers, self._max_requests):
            raise QueueFull(f"{len(queued)} requests wait already")
        waiting, backlogs = numbers[request.tenant], self._backlogs(queued)
        seconds = self._wait(request.tenant, backlogs, now, request.remainder_seconds)
        # A single request may take longer than that, and must not shut out the next.
        if waiting > 1 and seconds > self._max_wait:
            raise QueueFull(f"{waiting} requests wait already, and {seconds:.1f} s of them go first")
        if request.remainder_seconds and self._breaks_a_promise(request, queued, now):
            raise QueueFull(f"{waiting} requests wait already, and large ones among them would be late")

    def due(self, request: QueuedRequest, queued: Iterable[QueuedRequest], now: float) -> float:
        """When a request that has just arrived should have all of its results, by the clock of its arrival."""
        own = self._pace.per_unit * request.own_seconds
        available = self._available(request.tenant, {other.tenant for other in queued}, now)
        return due(request.arrived, own / available, self._max_wait)

    def _wait(self, tenant: str, backlogs: Mapping[str, _Backlog], now: float, new_remainder: float = 0.0) -> float:
        """Predicted seconds until a first slice of a tenant that is queued now has its pass.

        Those of other first slices of its tenant go before it, and so do remainders with their share, where there are
        enough of them: as many as wait now, or as have come of late. Other tenants have their shares meanwhile.
        """
        own, available = backlogs.get(tenant, _Backlog()), self._available(tenant, backlogs, now)
        first = self._seconds(own.first_slices)
        most = first / (REMAINDER_PERIOD - 1)
        of_late = min(self._uses[tenant].remainders.at(now) / available, 1 / REMAINDER_PERIOD)
        remainders = self._seconds(own.remainders + new_remainder)
        alone = first + min(most, max(remainders, first * of_late / (1 - of_late)))
        beside = sum(
            min(
                self._seconds(backlog.first_slices + backlog.remainders),
                alone * self._weights.of(other) / self._weights.of(tenant),
            )
            for other, backlog in backlogs.items()
            if other != tenant
        )
        # Others may have little queued now, and go on coming.
        return max(alone + beside, alone / available)

    def _available(self, tenant: str, waiting: Iterable[str], now: float) -> float:
        """The part of the device that a tenant may count on: its share beside those who are there, or what they leave.

        Args:
            waiting: tenants for whom something is queued.
        """
        of_late = {other: use.at(now) for other, use in list(self._uses.items()) if other != tenant}
        others = {*waiting, *(other for other, part in of_late.items() if part > _ABSENT)}
        return max(self._weights.part(tenant, others), 1 - sum(of_late.values()))

    def _backlogs(self, queued: Iterable[QueuedRequest]) -> dict[str, _Backlog]:
        by_tenant: defaultdict[str, list[QueuedRequest]] = defaultdict(list)
        for request in queued:
            by_tenant[request.tenant].append(request)
        return {tenant: self._backlog(requests) for tenant, requests in by_tenant.items()}

    def _backlog(self, queued: Iterable[QueuedRequest]) -> _Backlog:
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
        return _Backlog(self._engine.predicted_at_best(windows, tokens, squares) + decoding, remainders)

    def _breaks_a_promise(self, request: QueuedRequest, queued: Iterable[QueuedRequest], now: float) -> bool:
        """Whether the request would be late, or another of its tenant that is due after it."""
        others = [one for one in queued if one.tenant == request.tenant and one.remainder_seconds]
        if not others:
            return False
        available = self._available(request.tenant, {one.tenant for one in queued}, now)
        first_slices = self._uses[request.tenant].first_slices.at(now) / available
        stretch = min(1 / (1 - min(first_slices, _MOST_FIRST)), REMAINDER_PERIOD) / available
        free = now + MAX_REMAINDER_WAIT
        for one in sorted((*others, request), key=lambda one: one.due):
            free += stretch * self._seconds(one.remainder_seconds)
            if one.due >= request.due and free > one.due:
                return True
        return False

    def _seconds(self, predicted: float) -> float:
        return _CAUTION * self._pace.per_unit * predicted
