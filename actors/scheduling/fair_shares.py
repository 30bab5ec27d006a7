"""Fair shares: which tenant is next, by the tokens that each has had and by the tenants' weights."""

from collections.abc import Collection

from actors.tenants import TenantWeights


class FairShares:
    """Start-time fair queueing: the tenant with the least virtual time is next.

    The virtual time of a tenant is the tokens that were computed for it, divided by its weight. Tenants that always
    wait thus get tokens in proportion to their weights, and a tenant that waits alone gets all. One that comes back
    starts at the virtual time of those who waited meanwhile: what it did not use then is not owed to it.
    """

    def __init__(self, weights: TenantWeights) -> None:
        """Starts where nobody has had anything."""
        self._weights = weights
        self._virtual: dict[str, float] = {}
        self._waiting: frozenset[str] = frozenset()

    def note_waiting(self, tenants: Collection[str]) -> None:
        """Notes who waits now; to be called before every choice."""
        waiting = frozenset(tenants)
        if waiting == self._waiting:
            return
        stayed = [self._virtual[tenant] for tenant in waiting & self._waiting]
        start = min(stayed) if stayed else max(self._virtual.values(), default=0.0)
        for tenant in waiting - self._waiting:
            self._virtual[tenant] = max(self._virtual.get(tenant, start), start)
        self._waiting = waiting

    def virtual_time(self, tenant: str, tokens: float = 0.0) -> float:
        """The virtual time of a tenant after so many more tokens; the least is next."""
        return self._virtual.get(tenant, 0.0) + tokens / self._weights.of(tenant)

    def charge(self, tenant: str, tokens: float) -> None:
        """Counts tokens that were computed for a tenant; a negative number takes back what was counted before."""
        self._virtual[tenant] = self.virtual_time(tenant, tokens)
