"""The policy of Ray Serve's autoscaler: how many replicas the online load needs."""

import math
from typing import Any

ONLINE, OFFLINE = "online_calls", "offline_calls"
"""Names under which a replica reports its load: online requests, and chunks of offline shards, in hand."""


class OnlineLoad:
    """Replicas in proportion to the online requests in hand; offline work starts none unless `count_offline` is set."""

    def __init__(self, online_calls: float, count_offline: bool) -> None:
        """Takes the config keys `replicas.online_calls` and `replicas.count_offline`."""
        self._online_calls = online_calls
        self._count_offline = count_offline

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """The number of replicas, within the bounds of the deployment; and no state, which Ray Serve would keep."""
        recorded = context.aggregated_metrics
        if self._count_offline and sum(recorded.get(OFFLINE, {}).values()) > 0:
            return int(context.capacity_adjusted_max_replicas), {}
        wanted = math.ceil(sum(recorded.get(ONLINE, {}).values()) / self._online_calls)
        least, most = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
        return int(min(max(wanted, least), most)), {}
