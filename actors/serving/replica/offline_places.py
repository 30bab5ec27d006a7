"""The places of a replica for pieces of shards, and whose piece has the next free one."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.scheduling.fair_shares import FairShares
from actors.tenants import TenantWeights

_PATIENCE = 2.0
"""Seconds that a piece waits for a place, about as long as the passes of one take."""
_PRESENT = 5.0
"""Seconds after which a tenant that has no piece here and did not ask again is gone; jobs ask again within a second of
a refusal, or of the end of a piece."""


@dataclass(eq=False)
class _Waiting:
    tenant: str
    turn: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def has_place(self) -> bool:
        return self.turn.done() and not self.turn.cancelled()


class OfflinePlaces:
    """Gives a place that becomes free to the tenant that had the fewest tokens by its weight, among those that wait.

    Pieces wait for a short while only, and only while several tenants are there: a single one is told at once that the
    replica is full, so that it asks another replica. No place is kept for a tenant that does not wait for it; what it
    had is remembered for as long as it goes on asking. For use in one event loop.
    """

    def __init__(
        self,
        places: int,
        weights: TenantWeights,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes the number of places, and a clock in seconds."""
        self._places = places
        self._patience = patience
        self._clock = clock
        self._shares = FairShares(weights)
        self._in_hand: defaultdict[str, list[float]] = defaultdict(list)
        self._waiting: list[_Waiting] = []
        self._seen: dict[str, float] = {}
        self._finished = 0
        self._tokens = 0

    @property
    def in_hand(self) -> int:
        """Places that are taken."""
        return sum(map(len, self._in_hand.values()))

    async def take(self, tenant: str) -> bool:
        """Takes a place for a piece of a tenant, if there is one soon; whoever got one gives it back."""
        self._seen[tenant] = self._clock()
        present = self._note_present()
        if self.in_hand < self._places:
            self._begin(tenant)
            return True
        if present == {tenant}:
            return False
        waiting = _Waiting(tenant)
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(self._patience):
                await waiting.turn
        except TimeoutError:
            return waiting.has_place
        except asyncio.CancelledError:
            if waiting.has_place:
                self.give_back(tenant, 0)
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        return True

    def give_back(self, tenant: str, tokens: int) -> None:
        """Frees a place whose piece had so many tokens computed, and gives it to whoever is next."""
        self._shares.charge(tenant, tokens - self._in_hand[tenant].pop())
        if tokens:
            self._finished += 1
            self._tokens += tokens
        # A piece may take longer than tenants are remembered for.
        self._seen[tenant] = self._clock()
        self._note_present()
        waiting = [one for one in self._waiting if not one.turn.done()]
        if waiting:
            # Among those of a tenant the one that came first.
            first = min(waiting, key=lambda one: self._shares.virtual_time(one.tenant))
            first.turn.set_result(None)
            self._begin(first.tenant)

    def _begin(self, tenant: str) -> None:
        # What a piece takes is known when it is done; until then it counts as those before it did.
        usual = self._tokens / self._finished if self._finished else 0.0
        self._in_hand[tenant].append(usual)
        self._shares.charge(tenant, usual)

    def _note_present(self) -> set[str]:
        """The tenants that have a place, wait for one, or gave one back or were refused one of late."""
        since = self._clock() - _PRESENT
        present = {tenant for tenant, seen in self._seen.items() if seen >= since}
        present |= {tenant for tenant, counted in self._in_hand.items() if counted}
        self._shares.note_waiting(present)
        return present
