"""6. A rolling update while requests come in: the same application with another quantum, so with new replicas."""

import time

from ray import serve

from actors.serving.deployments import APPLICATION, bind
from actors.serving.parameters import ServiceParameters
from benchmarks.serving.bench import ONLINE, Bench
from benchmarks.serving.clients import running
from benchmarks.serving.figures import Figures, Goal
from benchmarks.serving.service import REPLICA
from pipelines.config.job import ClusterParameters
from pipelines.job.ray_cluster import connected
from pipelines.job.service_discovery import service_address

_BEFORE_SECONDS, _LOAD_SECONDS = 5.0, 60.0


def measure(bench: Bench) -> Figures:
    """Every round: an update in the middle of a load."""
    setup = bench.setup
    figures = Figures(f"6. rolling update, online at {ONLINE:.0%} of capacity")
    parameters = setup.parameters
    for number in range(setup.rounds):
        parameters = _changed(parameters)
        old = set(bench.service.pids(REPLICA))
        with running(bench.load(ONLINE, _LOAD_SECONDS, seed=number)) as wait:
            time.sleep(_BEFORE_SECONDS)
            started = time.monotonic()
            with connected(ClusterParameters(address=service_address())):
                serve.run(bind(parameters), name=APPLICATION, route_prefix="/")
            seconds = time.monotonic() - started
            outcomes = wait()
        new = set(bench.service.pids(REPLICA))
        figures.add("the update took", seconds, "s")
        figures.add("replicas that stayed", len(old & new), "", Goal("=", 0))
        figures.add("requests", len(outcomes.table), "")
        figures.add("failed", sum(outcomes.failures.values()), "requests", Goal("=", 0))
        figures.add("p50", outcomes.ms(0.5))
        figures.add("longest", outcomes.ms(1.0))
        if outcomes.failures:
            figures.note(f"round {number + 1}, failed: {dict(outcomes.failures)}")
    return figures


def _changed(parameters: ServiceParameters) -> ServiceParameters:
    sharing = parameters.sharing
    changed = sharing.model_copy(update={"quantum_ms": sharing.quantum_ms + 1})
    return parameters.model_copy(update={"sharing": changed})
