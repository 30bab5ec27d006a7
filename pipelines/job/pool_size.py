"""How many model actors a job has, and what each of them takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.config.job import PoolParameters
from pipelines.errors import ConfigError


@dataclass(frozen=True)
class ActorPool:
    """The model actors of a job, every default filled in."""

    size: int
    """Fewest actors; all of them where `max_size` is equal."""
    max_size: int
    cpus: float
    gpus: float
    threads: int
    """CPU threads of an actor."""


def shared_replicas(parameters: PoolParameters, fingerprint: str) -> int:
    """Replicas of the service that a job shares, which is looked at; 0 for a job with models of its own.

    Raises:
        JobError: the service does not run, or does not answer.
        ConfigError: it runs another model than that of the fingerprint.
    """
    if parameters.kind == "own":
        return 0
    # Here and not above: other jobs need not wait for Ray Serve and FastAPI.
    from pipelines.job.service_check import check_service

    return check_service(parameters.application, fingerprint)


def plan_pool(
    parameters: PoolParameters, threads: int | None, resources: Mapping[str, float], nodes: int = 1, replicas: int = 0
) -> ActorPool:
    """Fills in what the config leaves open from what the cluster has.

    Args:
        threads: `model.threads`.
        resources: Ray's names and amounts of the whole cluster: CPU, GPU.
        nodes: machines of the cluster.
        replicas: of the service that the job shares.

    Raises:
        ConfigError: the cluster cannot hold the smallest pool.
    """
    if parameters.kind == "serve":
        usual = max(replicas, 1)
        feeders = parameters.size or min(usual, parameters.max_size or usual)
        return ActorPool(size=feeders, max_size=parameters.max_size or feeders, cpus=_FEEDER_CPUS, gpus=0.0, threads=1)
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    gpus_each = parameters.gpus if parameters.gpus is not None else (1.0 if gpus >= 1 else 0.0)
    usual = max(math.floor(gpus / gpus_each), 1) if gpus_each else 1
    size = parameters.size or usual
    if gpus_each * size > gpus:
        raise ConfigError(
            f"pool: {size} actors of {gpus_each:g} GPU need {gpus_each * size:g}, the cluster has {gpus:g}; "
            "lower pool.size or pool.gpus"
        )
    # The stages beside the actors need their shares of CPU, or nothing would ever reach the model.
    room = max(cpus - _STAGE_CPUS, 0.0)
    usual_cpus = 1.0 if size > 1 else min(1.0, room)
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


_FEEDER_CPUS = 0.05
"""A feeder waits for replicas most of the time. Differs from the shares in `pipelines.execution.ray_pipeline`, so that
nothing fuses."""
_STAGE_CPUS = 0.6
"""One task each of reading, preparing and writing, as `pipelines.execution.ray_pipeline` asks for."""
