"""How many CPU threads a replica takes: its machine's CPUs, divided by the replicas that come to lie there."""

import math
from collections.abc import Mapping, Sequence


def threads_of_replica(
    here: Mapping[str, float], machines: Sequence[Mapping[str, float]], replicas: int, cpus: float, gpus: float
) -> int:
    """CPU threads of each replica on one machine; at least 1.

    Args:
        here: resources of the machine as Ray names them (CPU, GPU).
        machines: those of every machine of the cluster; a head without CPUs may be among them.
        replicas: most replicas of the whole cluster, which Ray Serve spreads over its machines.
        cpus: CPUs that Ray reserves for a replica.
        gpus: GPUs, likewise.
    """
    hosts = sum(_room(machine, cpus, gpus) > 0 for machine in machines)
    beside = min(math.ceil(replicas / max(hosts, 1)), max(_room(here, cpus, gpus), 1))
    return max(int(here.get("CPU", 0)) // beside, 1)


def _room(machine: Mapping[str, float], cpus: float, gpus: float) -> int:
    """Replicas that a machine can hold."""
    wanted = (("CPU", cpus), ("GPU", gpus))
    rooms = [math.floor(machine.get(name, 0) / amount) for name, amount in wanted if amount]
    # Without CPUs no thread computes, whatever a replica reserves.
    return min(rooms, default=1 << 30) if machine.get("CPU", 0) else 0
