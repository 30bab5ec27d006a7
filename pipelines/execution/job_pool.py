"""The actor pool of a planned job on the cluster that is connected."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from pipelines.job.job import Job
from pipelines.job.nodes.check import living_nodes
from pipelines.job.pool_size import ActorPool, check_placement, plan_pool, shared_replicas


def pool_of(
    job: Job,
    resources: Mapping[str, float],
    nodes: int,
    without: frozenset[str] = frozenset(),
    warn: Callable[[str], None] | None = None,
) -> ActorPool:
    """The pool that computes a job, after a look at the service whose replicas it shares, if it does.

    Args:
        resources: of the whole cluster, as Ray names them.
        nodes: machines of the cluster.
        without: ids of nodes that get no work.
        warn: is told where single nodes have no room for some of the actors.

    Raises:
        JobError: the service is not running, or does not answer.
        ConfigError: the service computes something else, the cluster cannot hold the pool, or no single node an
            actor.
    """
    config, runtime = job.config, job.model.runtime
    shared = shared_replicas(config.pool, job.model.fingerprint, job.runtime)
    replicas, deployment = (0, None) if shared is None else (max(shared.running, 1), shared.deployment)
    # Threads that are given are those of as many actors as there would be without.
    actors = 1 if runtime is None or config.model.threads is not None else runtime.actors
    pool = plan_pool(config.pool, config.model.threads, resources, nodes, replicas, actors)
    left = [(node.address, node.resources) for node in living_nodes() if node.id not in without]
    warning = check_placement(pool, left)
    if warning is not None and warn is not None:
        warn(warning)
    return replace(pool, deployment=deployment)
