"""The size of a job's actor pool, and the CPUs, GPUs and threads of each actor."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.models.runtime_choice import Candidate
from actors.tenants import DEFAULT_TENANT
from pipelines.config.job import PoolParameters
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    # It brings Ray Serve.
    from pipelines.job.service_check import SharedReplicas


@dataclass(frozen=True)
class ActorPool:
    """The model actors of a job, with every default filled in."""

    size: int
    """Smallest number of actors; the pool is fixed where `max_size` is equal."""
    max_size: int
    cpus: float
    gpus: float
    threads: int
    """CPU threads of an actor."""
    deployment: str | None = None
    """Of the service whose replicas hold the model; None where the actors are the job's own."""


def shared_replicas(parameters: PoolParameters, fingerprint: str, runtime: Candidate) -> "SharedReplicas | None":
    """The replicas of the service that a job shares, after checking them; None for a job with its own actors.

    Raises:
        JobError: the service is not running, or does not answer.
        ConfigError: it has no model of the fingerprint, or runs it in another runtime or type than the job's, or has no
            such tenant.
    """
    if parameters.kind == "own":
        return None
    # Imported here, because other jobs need not load Ray Serve and FastAPI.
    from pipelines.job.service_check import check_service

    return check_service(parameters.application, fingerprint, runtime, parameters.tenant or DEFAULT_TENANT)


def plan_pool(
    parameters: PoolParameters,
    threads: int | None,
    resources: Mapping[str, float],
    nodes: int = 1,
    replicas: int = 0,
    side_by_side: int = 1,
) -> ActorPool:
    """Fills in what the config leaves open, from the resources of the cluster.

    Args:
        threads: `model.threads`.
        resources: resources of the whole cluster as Ray names them: CPU, GPU.
        nodes: machines of the cluster.
        replicas: number of replicas of the service that the job shares.
        side_by_side: actors that share a machine without GPUs, or a GPU, where neither the number of actors nor what
            each takes is given.

    Raises:
        ConfigError: the cluster cannot hold the smallest pool.
    """
    if parameters.kind == "serve":
        usual = max(replicas, 1)
        feeders = parameters.size or min(usual, parameters.max_size or usual)
        return ActorPool(size=feeders, max_size=parameters.max_size or feeders, cpus=_FEEDER_CPUS, gpus=0.0, threads=1)
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    is_open = parameters.size is parameters.cpus is parameters.gpus is None
    together = side_by_side if is_open else 1
    gpus_each = parameters.gpus if parameters.gpus is not None else (1.0 / together if gpus >= 1 else 0.0)
    on_cpus = 1 if together == 1 else together * nodes
    usual = max(math.floor(gpus / gpus_each), 1) if gpus_each else on_cpus
    size = parameters.size or usual
    if gpus_each * size > gpus:
        raise ConfigError(
            f"pool: {size} actors of {gpus_each:g} GPU need {gpus_each * size:g}, the cluster has {gpus:g}; "
            "lower pool.size or pool.gpus"
        )
    # The stages beside the actors need CPUs of their own, or no shard would ever reach the model.
    room = max(cpus - _STAGE_CPUS, 0.0)
    usual_cpus = min(1.0, room / size) if size == 1 or together > 1 else 1.0
    cpus_each = usual_cpus if parameters.cpus is None else parameters.cpus
    if cpus_each * size > room:
        raise ConfigError(
            f"pool: {size} actors of {cpus_each:g} CPU leave less than {_STAGE_CPUS:g} of the cluster's {cpus:g} "
            "CPUs for reading, preparing and writing; lower pool.size or pool.cpus"
        )
    max_size = parameters.max_size or size
    return ActorPool(
        size=size,
        max_size=max_size,
        cpus=cpus_each,
        gpus=gpus_each,
        threads=threads or max(math.floor(cpus / nodes / math.ceil(max_size / nodes)), 1),
    )


def check_placement(pool: ActorPool, nodes: Sequence[tuple[str, Mapping[str, float]]]) -> str | None:
    """Checks that actors fit into single nodes: each lies on one of them.

    Args:
        nodes: name of each, and its resources as Ray names them.

    Returns:
        A warning where some actors of the smallest pool find no room; the job runs with the others.

    Raises:
        ConfigError: not one actor finds room; the message names the largest nodes.
    """
    room = sum(_room(pool, resources) for _, resources in nodes)
    if room >= pool.size:
        return None
    each = f"{pool.cpus:g} CPU" + (f" and {pool.gpus:g} GPU" if pool.gpus else "")
    largest = sorted(nodes, key=lambda one: (-one[1].get("GPU", 0.0), -one[1].get("CPU", 0.0)))[:_MOST_NAMED]
    listed = ", ".join(f"{name} ({one.get('CPU', 0.0):g} CPU, {one.get('GPU', 0.0):g} GPU)" for name, one in largest)
    said = (
        f"pool: an actor lies on one node, and of {pool.size} actors of {each} each {room} find room; "
        f"the largest nodes are {listed or 'not there'}. Lower pool.size, pool.cpus or pool.gpus, or start larger nodes"
    )
    if not room:
        raise ConfigError(said)
    return f"{said}; the others start when nodes with room join"


def _room(pool: ActorPool, resources: Mapping[str, float]) -> int:
    """Actors that fit into one node."""
    wanted = (("CPU", pool.cpus), ("GPU", pool.gpus))
    # Ray counts in ten-thousandths; what is left of sums of fractions must not cost an actor.
    rooms = [math.floor(resources.get(name, 0.0) / amount + 1e-6) for name, amount in wanted if amount]
    return min(rooms, default=pool.size)


_MOST_NAMED = 3
_FEEDER_CPUS = 0.05
"""CPUs of a feeder, which waits for replicas most of the time. No stage in `pipelines.execution.ray_pipeline` asks for
the same number, so that Ray Data does not fuse feeders with a stage."""
_STAGE_CPUS = 0.6
"""CPUs of one task each of reading, preparing and writing, as in `pipelines.execution.ray_pipeline`."""
