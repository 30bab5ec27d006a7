"""Whose request the next pass is for: first the tenant whose turn it is, then the request of that tenant."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace

import numpy as np

from actors.arrays import Longs
from actors.scheduling.fair_shares import FairShares
from actors.scheduling.policy import SchedulingPolicy
from actors.scheduling.request import QueuedRequest
from actors.tenants import TenantWeights


class TenantPolicy:
    """Divides the device between tenants by their weights, and the part of each by `SchedulingPolicy`.

    First slices go before remainders within a tenant only: where they did among all, a tenant that sends small requests
    would get twice as much as one of the same weight that sends large ones. A small request waits for no remainder of
    another tenant all the same, as long as its own tenant has had no more than its share.
    """

    def __init__(self, weights: TenantWeights) -> None:
        """Starts with an empty queue."""
        self._weights = weights
        self._shares = FairShares(weights)
        self._policies: defaultdict[str, SchedulingPolicy] = defaultdict(SchedulingPolicy)

    def next(self, requests: Sequence[QueuedRequest], now: float) -> QueuedRequest:
        """The request that the next pass is for.

        Args:
            requests: at least one; every one has pending windows.
            now: by the monotonic clock, in seconds.
        """
        queues = _by_tenant(requests)
        self._shares.note_waiting(queues)

        def turn(tenant: str) -> tuple[float, float]:
            return self._shares.virtual_time(tenant), min(request.arrived for request in queues[tenant])

        tenant = next(iter(queues)) if len(queues) == 1 else min(queues, key=turn)
        return self._policies[tenant].next(queues[tenant], now)

    def by_urgency(self, requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
        """The requests in the order in which they would have their passes, if each were charged for its next slice."""
        queues = _by_tenant(requests)
        ordered = {tenant: iter(self._policies[tenant].by_urgency(own)) for tenant, own in queues.items()}
        return list(next(iter(ordered.values()))) if len(ordered) == 1 else list(self._merged(ordered))

    def ran(self, windows: Mapping[QueuedRequest, Longs]) -> None:
        """Charges tenants for a pass over these windows; each pays for its own, whoever shares the pass."""
        for request, own in windows.items():
            self._shares.charge(request.tenant, float(np.sum(request.lengths[own])))

    def ran_remainder(self, request: QueuedRequest, requests: Sequence[QueuedRequest], seconds: float) -> None:
        """Notes that the pass of a remainder took so long, while these requests waited.

        A tenant's remainders have a third of the part of the device that the tenant has.
        """
        part = self._weights.part(request.tenant, {other.tenant for other in requests})
        self._policies[request.tenant].ran_remainder(seconds / part)

    def _merged(self, ordered: Mapping[str, Iterator[QueuedRequest]]) -> Iterator[QueuedRequest]:
        def entry(tenant: str, request: QueuedRequest, tokens: int) -> tuple[float, float, str, int, QueuedRequest]:
            return self._shares.virtual_time(tenant, tokens), request.arrived, tenant, tokens, request

        heap = [entry(tenant, next(own), 0) for tenant, own in ordered.items()]
        heapify(heap)
        while heap:
            _, _, tenant, tokens, request = heap[0]
            yield request
            following = next(ordered[tenant], None)
            if following is None:
                heappop(heap)
            else:
                heapreplace(heap, entry(tenant, following, tokens + request.slice_size.tokens))


def _by_tenant(requests: Sequence[QueuedRequest]) -> dict[str, list[QueuedRequest]]:
    queues: dict[str, list[QueuedRequest]] = {}
    for request in requests:
        queues.setdefault(request.tenant, []).append(request)
    return queues
