"""Whether replicas find room on the machines, and how many CPU threads each takes of the machine where it lies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Resources = Mapping[str, float]
"""As Ray names them: CPU, GPU."""


@dataclass(frozen=True)
class Replicas:
    """The replicas of one deployment, and what Ray reserves for each."""

    name: str
    count: int
    cpus: float
    gpus: float

    def __str__(self) -> str:
        each = " and ".join(f"{amount:g} {name}" for name, amount in (("CPU", self.cpus), ("GPU", self.gpus)) if amount)
        return f"{self.name} {self.count} of {each or 'nothing'}"


def shortage(wanted: Sequence[Replicas], machines: Sequence[Resources]) -> str | None:
    """A sentence on replicas that do not fit the machines together, with names and numbers; None where all do.

    It puts the largest replicas first, each where it leaves the least room. Where that fails, another order could
    succeed in rare cases only: with machines of several sizes that would be filled to the last CPU.

    Args:
        machines: all of every machine.
    """
    free = [dict(machine) for machine in machines]
    missing: dict[str, int] = {}
    for one in sorted(wanted, key=lambda one: (one.gpus, one.cpus), reverse=True):
        for _ in range(one.count):
            if not _take(free, one):
                missing[one.name] = missing.get(one.name, 0) + 1
    if not missing:
        return None
    sums = [(name, sum(machine.get(name, 0.0) for machine in machines)) for name in ("CPU", "GPU")]
    there = " and ".join(f"{amount:g} {name}" for name, amount in sums if amount) or "neither CPUs nor GPUs"
    without = ", ".join(f"{count} of {name}" for name, count in missing.items())
    on = "one machine" if len(machines) == 1 else f"{len(machines)} machines"
    return (
        f"the replicas do not fit the cluster: wanted are {'; '.join(map(str, wanted))}; there are {there} on {on}, "
        f"and no room for {without}"
    )


def _take(free: list[dict[str, float]], one: Replicas) -> bool:
    """Takes a replica's part from the machine that has the least room left; False where none has room."""
    parts = (("CPU", one.cpus), ("GPU", one.gpus))
    fitting = [machine for machine in free if all(machine.get(name, 0.0) >= amount for name, amount in parts)]
    if not fitting:
        return False
    tightest = min(fitting, key=lambda machine: (machine.get("GPU", 0.0), machine.get("CPU", 0.0)))
    for name, amount in parts:
        # Ray counts in parts of 10,000.
        tightest[name] = round(tightest.get(name, 0.0) - amount, 4)
    return True


def threads_of_replica(
    here: Resources, machines: Sequence[Resources], replicas: int, cpus: float, gpus: float, others: int = 0
) -> int:
    """CPU threads of each replica on one machine; at least 1.

    Args:
        here: resources of the machine.
        machines: those of every machine of the cluster; a head without CPUs may be among them.
        replicas: most replicas of the whole cluster, which Ray Serve spreads over its machines.
        cpus: CPUs that Ray reserves for a replica.
        gpus: GPUs, likewise.
        others: replicas of other models that come to lie there, too: the sum of their `replicas_here`.
    """
    beside = max(replicas_here(here, machines, replicas, cpus, gpus), 1) + others
    return max(int(here.get("CPU", 0)) // beside, 1)


def replicas_here(here: Resources, machines: Sequence[Resources], replicas: int, cpus: float, gpus: float) -> int:
    """How many of a model's replicas come to lie on one machine; the arguments are those of `threads_of_replica`."""
    hosts = sum(_room(machine, cpus, gpus) > 0 for machine in machines)
    return min(math.ceil(replicas / max(hosts, 1)), _room(here, cpus, gpus))


def _room(machine: Resources, cpus: float, gpus: float) -> int:
    """Replicas that a machine can hold."""
    wanted = (("CPU", cpus), ("GPU", gpus))
    rooms = [math.floor(machine.get(name, 0) / amount) for name, amount in wanted if amount]
    # Without CPUs no thread computes, whatever a replica reserves.
    return min(rooms, default=1 << 30) if machine.get("CPU", 0) else 0
