"""Tenants: teams that share a service, each with a weight, by which room and time are divided between them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

DEFAULT_TENANT = "default"
"""Whose requests and jobs are that name no other: the only tenant where none are configured."""
NO_TENANT = "none"
"""Whose is what no tenant asks for: readiness probes and, in metrics, requests without a known key."""


@dataclass(frozen=True)
class TenantWeights:
    """The tenants of a service and their weights; a tenant that it does not know has the weight 1."""

    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({DEFAULT_TENANT: 1.0}))

    def of(self, tenant: str) -> float:
        """The weight of a tenant."""
        return self.weights.get(tenant, 1.0)

    def part(self, tenant: str, others: Iterable[str]) -> float:
        """The part of a whole that is a tenant's where these tenants want of it too, in (0, 1]."""
        own = self.of(tenant)
        return own / (own + sum(self.of(other) for other in others if other != tenant))

    def kept(self, tenant: str, room: float) -> float:
        """What of a room is kept for a tenant: by its weight, of the half that is kept for all of them."""
        return room / 2 * self.part(tenant, self.weights)

    def fits(self, tenant: str, more: float, taken: Mapping[str, float], room: float) -> bool:
        """Whether a tenant may take more of a room that is bounded.

        One half of the room is kept for the tenants, for each by its weight; of the other half anybody may take. So
        one tenant alone cannot fill the room of others. Where there is one tenant only, the whole room is its own.

        Args:
            taken: by tenant, in the unit of `more` and `room`.
        """
        held = dict(taken)
        held[tenant] = held.get(tenant, 0.0) + more
        if sum(held.values()) > room:
            return False
        kept = {name: self.kept(name, room) for name in held}
        beyond = sum(max(amount - kept[name], 0.0) for name, amount in held.items())
        return held[tenant] <= kept[tenant] or beyond <= room / 2
