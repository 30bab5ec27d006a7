"""Checks the running service whose replicas a job shares, before the job starts."""

import logging
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from actors.errors import last_line
from actors.models.runtime_choice import Candidate
from actors.serving.deployments import MODEL
from actors.serving.types import ModelCard
from pipelines.errors import ConfigError, JobError
from pipelines.job.deadline import within

_ANSWER_SECONDS = 60.0


def service_runtime(application: str) -> Candidate:
    """The runtime and the type in which an application of the connected cluster computes.

    Raises:
        JobError: the application is not running, or does not answer.
    """
    card = _asked(application)[0]
    return Candidate(card.backend, card.dtype)


def check_service(application: str, fingerprint: str, runtime: Candidate) -> int:
    """Checks that an application of the connected cluster can run a job's shards.

    Args:
        runtime: of the job.

    Returns:
        Number of running replicas, which may change at any time.

    Raises:
        JobError: the application is not running, or does not answer.
        ConfigError: the application runs another model than the job was planned with, or in another runtime or
            precision.
    """
    card, running = _asked(application)
    if card.fingerprint != fingerprint:
        raise ConfigError(
            f"--pool serve: the application {application} runs {card.name} ({card.fingerprint[:12]}), the job was "
            f"planned with another model ({fingerprint[:12]}); set model.name to what the service runs"
        )
    if card.dtype != runtime.dtype:
        raise ConfigError(
            f"--pool serve: the application {application} computes in {card.dtype}, and this job in {runtime.dtype}. "
            f"One output has one precision: start the service with --set model.dtype={runtime.dtype}, or the job with "
            "--pool own; or leave model.precision out and name another OUTPUT, and the job takes the service's"
        )
    if card.backend != runtime.backend:
        raise ConfigError(
            f"--pool serve: the application {application} computes with {card.backend}, and this job with "
            f"{runtime.backend}. One output has one runtime: set model.backend={card.backend}, or auto and another "
            "OUTPUT, for which the job takes the service's; or run the job with --pool own"
        )
    return max(running, 1)


def _asked(application: str) -> tuple[ModelCard, int]:
    """What the application says of its model, and its running replicas."""
    # Ray Serve, once imported, tells stderr of every handle that is made.
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        status = within(_ANSWER_SECONDS, "--pool serve: Ray Serve", serve.status)
    except (TimeoutError, RayError) as error:
        raise JobError(f"{last_line(error)}; is `spanmill serve` still running on this cluster?") from error
    found = status.applications.get(application)
    if found is None or found.status is ApplicationStatus.DEPLOY_FAILED:
        state = "is not there" if found is None else "failed to start"
        raise JobError(
            f"--pool serve: on this cluster the application {application} {state}; start it with `spanmill serve`, or "
            "name another with --set pool.application=NAME, another cluster with --set ray.address=HOST:PORT"
        )
    replicas: Any = found.deployments[MODEL].replica_states if MODEL in found.deployments else {}
    try:
        card = within(_ANSWER_SECONDS, f"--pool serve: the application {application}", lambda: _card(application))
    except (RayServeException, RayActorError, TimeoutError) as error:
        raise JobError(f"--pool serve: the application {application} does not answer: {error}") from error
    return card, int(replicas.get("RUNNING", 0))


@retry(
    # Serve may not have noticed yet that a replica died: the next try finds another one, or waits for it.
    retry=retry_if_exception_type(RayActorError),
    stop=stop_after_delay(_ANSWER_SECONDS),
    wait=wait_fixed(0.5),
    reraise=True,
)
def _card(application: str) -> ModelCard:
    handle = serve.get_deployment_handle(MODEL, application)
    card: ModelCard = handle.card.remote().result(timeout_s=_ANSWER_SECONDS)
    return card
