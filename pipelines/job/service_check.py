"""Finds the replicas of a running service that a job shares, and checks them, before the job starts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from actors.backends.base import find_runtime
from actors.errors import ModelError, last_line
from actors.models.hub import find_model, fingerprint
from actors.models.precision import decided_precision
from actors.models.runtime_choice import Candidate
from actors.parameters import ModelParameters
from actors.registry import AUTO
from actors.serving.deployments import MODEL, holds_model
from actors.serving.types import ModelCard
from actors.tenants import DEFAULT_TENANT
from pipelines.errors import ConfigError, JobError
from pipelines.job.deadline import within

_ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class SharedReplicas:
    """The replicas of a running service that hold one model."""

    deployment: str
    """Name of their deployment in the application."""
    card: ModelCard
    running: int
    """How many run, which may change at any time."""

    @property
    def runtime(self) -> Candidate:
        """In which they compute."""
        return Candidate(self.card.backend, self.card.dtype)


@dataclass(frozen=True)
class _Service:
    """What an application says of its models."""

    models: Sequence[SharedReplicas]
    """Those that answer, the first one first."""
    silent: Sequence[str] = ()
    """Deployments of models that have no running replica while others have."""

    def __str__(self) -> str:
        models = " and ".join(f"{one.card.name} ({one.card.fingerprint[:12]})" for one in self.models)
        return f"{models} (without a running replica: {', '.join(self.silent)})" if self.silent else models


def service_runtime(application: str, model: ModelParameters) -> Candidate:
    """The runtime and the type in which an application of the connected cluster computes a job's model.

    Args:
        model: of the job; what it leaves open of runtime and type, the service decides.

    Raises:
        JobError: the application is not running, or does not answer.
        ModelError: it has several models, and the job's cannot be found.
        ConfigError: it has several models and none is the job's, or the job's several times in different runtimes.
    """
    found = _asked(application)
    if len(found.models) == 1 and not found.silent:
        # Whether it is the job's model is looked at when the job is planned.
        return found.models[0].runtime
    same = [one for one in found.models if _is_of(one, model)]
    if not same:
        raise ConfigError(
            f"--pool serve: the application {application} runs {found}, and none of them is {model.name}; set "
            "model.name to one that the service runs"
        )
    asked = decided_precision(model)
    fitting = [
        one
        for one in same
        if model.backend in (AUTO, one.card.backend) and (asked is None or asked.dtype == one.card.dtype)
    ]
    runtimes = {one.runtime for one in fitting or same}
    if len(runtimes) > 1:
        raise ConfigError(_several(application, same))
    return runtimes.pop()


def check_service(application: str, expected: str, runtime: Candidate, tenant: str = DEFAULT_TENANT) -> SharedReplicas:
    """Finds the replicas of an application of the connected cluster that can run a job's shards.

    Args:
        expected: fingerprint of the job's model.
        runtime: of the job.
        tenant: whose share of the replicas it is to take.

    Raises:
        JobError: the application is not running, or does not answer.
        ConfigError: the application has no such model, or runs it in other runtimes or precisions, or it has no such
            tenant.
    """
    found = _asked(application)
    tenants = found.models[0].card.tenants
    if tenant not in tenants:
        raise ConfigError(
            f"--tenant: the application {application} has no tenant {tenant!r}; it has {', '.join(tenants)}. Name one "
            "of these, or add it to the service's config, below tenants"
        )
    same = [one for one in found.models if one.card.fingerprint == expected]
    if not same:
        other = "another model" if len(found.models) == 1 else "a model that is none of these"
        raise ConfigError(
            f"--pool serve: the application {application} runs {found}, the job was planned with {other} "
            f"({expected[:12]}); set model.name to what the service runs"
        )
    fitting = next((one for one in same if one.runtime == runtime), None)
    if fitting is not None:
        return fitting
    if len(same) > 1:
        raise ConfigError(f"{_several(application, same)}; this job is one in {runtime}")
    card = same[0].card
    if card.dtype != runtime.dtype:
        raise ConfigError(
            f"--pool serve: the application {application} computes in {card.dtype}, and this job in {runtime.dtype}. "
            f"One output has one precision: start the service with --set model.dtype={runtime.dtype}, or the job with "
            "--pool own; or leave model.precision out and name another OUTPUT, and the job takes the service's"
        )
    raise ConfigError(
        f"--pool serve: the application {application} computes with {card.backend}, and this job with "
        f"{runtime.backend}. One output has one runtime: set model.backend={card.backend}, or auto and another "
        "OUTPUT, for which the job takes the service's; or run the job with --pool own"
    )


def _several(application: str, same: Sequence[SharedReplicas]) -> str:
    models = " and ".join(f"{one.card.name} (in {one.runtime})" for one in same)
    return (
        f"--pool serve: the application {application} runs the job's model as {models}; set model.backend and "
        "model.dtype to those of one of them"
    )


def _is_of(one: SharedReplicas, model: ModelParameters) -> bool:
    """Whether replicas hold a job's model: the runtime says which of its files count.

    Raises:
        ModelError: the job's model cannot be found.
    """
    try:
        find_runtime(one.card.backend)
    except ModelError:
        # A runtime of somebody's own, which is not installed here: a job that named it would not get so far.
        return False
    return fingerprint(find_model(one.runtime.of(model)), one.card.backend) == one.card.fingerprint


def _asked(application: str) -> _Service:
    """The models of the application, with their running replicas."""
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
    states: dict[str, Any] = {name: one.replica_states for name, one in found.deployments.items()}
    # Where it has only begun to start, it may not say yet that there is a model.
    every = sorted({MODEL, *filter(holds_model, found.deployments)})
    # A job need not wait for a model that is not its own; where none runs yet, it waits for all.
    deployments = [name for name in every if states.get(name, {}).get("RUNNING")] or every
    try:
        cards = within(
            _ANSWER_SECONDS,
            f"--pool serve: the application {application}",
            lambda: [_card(application, deployment) for deployment in deployments],
        )
    except (RayServeException, RayActorError, TimeoutError) as error:
        raise JobError(f"--pool serve: the application {application} does not answer: {error}") from error
    models = [
        SharedReplicas(name, card, int(states.get(name, {}).get("RUNNING", 0)))
        for name, card in zip(deployments, cards, strict=True)
    ]
    return _Service(models, [name for name in every if name not in deployments])


@retry(
    # Serve may not have noticed yet that a replica died: the next try finds another one, or waits for it.
    retry=retry_if_exception_type(RayActorError),
    stop=stop_after_delay(_ANSWER_SECONDS),
    wait=wait_fixed(0.5),
    reraise=True,
)
def _card(application: str, deployment: str) -> ModelCard:
    handle = serve.get_deployment_handle(deployment, application)
    card: ModelCard = handle.card.remote().result(timeout_s=_ANSWER_SECONDS)
    return card
