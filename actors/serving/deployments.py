"""The Ray Serve application: a gateway that speaks HTTP, and the model actors behind it.

A Ray Serve config file names `actors.serving.deployments:build`, with the keys of `ServiceParameters` as its args.
"""

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from actors.arrays import Ints
from actors.engine.inference_task import Wanted
from actors.engine.pass_stats import PassStats
from actors.errors import DeviceLost, NoRoom
from actors.model_actor import ModelActor
from actors.models.hub import find_model
from actors.models.precision import with_precision
from actors.parameters import ModelParameters
from actors.serving.autoscaling import OFFLINE, ONLINE
from actors.serving.gateway.builder import app_builder
from actors.serving.model_card import describe, settled
from actors.serving.parameters import ReplicaParameters, ServedModel, ServiceParameters
from actors.serving.placement import Replicas, replicas_here, shortage, threads_of_replica
from actors.serving.prometheus import ReplicaMetrics
from actors.serving.replica.offline_places import OfflinePlaces
from actors.serving.replica.replica import Replica
from actors.serving.replica.threads import in_thread
from actors.serving.types import ANOTHER_MODEL, UNKNOWN_TENANT, ModelCard, ModelIdentity, Refusal, Reply, Request
from actors.serving.version_check import check_versions, service_versions
from actors.tenants import DEFAULT_TENANT
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tracing.environment import tracing_here

APPLICATION = "spanmill"
MODEL, GATEWAY = "model", "gateway"
"""Names of the deployments; those of further models begin with that of the first."""

PieceResult = tuple[pa.Table, PassStats]
"""Result columns of a piece of a shard, one row per owner, and the statistics of its passes."""

_SPARE_SECONDS = 5.0
_ONGOING_FACTOR = 2
"""A replica accepts this many times its queue from Ray Serve, so that it refuses by itself, and no request waits in Ray
Serve, where deadlines have no effect."""

_ONLINE_FIRST = Refusal(429, "online_first", "online requests need the room", 1)


class ModelDeployment:
    """One model actor as a replica of Ray Serve."""

    def __init__(
        self,
        service: ServiceParameters,
        name: str,
        versions: Mapping[str, str],
        labels: Mapping[str, str] | None = None,
        beside: Sequence[ReplicaParameters] = (),
    ) -> None:
        """Loads the model, and runs real forward passes; the replica is ready after them.

        Args:
            service: as if it served this model alone.
            name: what clients call the model.
            versions: of packages, that the node must have.
            labels: of its metrics.
            beside: the replicas of other models that share the CPUs of the machines.
        """
        check_versions(versions)
        model = _placed_model(service, beside)
        folder = find_model(model)
        model = with_precision(folder, model)
        weights, places = service.weights, service.sharing.offline_calls
        card = replace(describe(folder, model), name=name, tenants=tuple(weights.weights))
        actor = ModelActor(model, service.batching, with_qa_head=card.answers, sharing=service.sharing, weights=weights)
        self._replica = Replica(actor, card, service.sharing, service.limits, tracing_here(), weights)
        self._metrics = ReplicaMetrics(self._replica, labels)
        self._places = OfflinePlaces(places, weights)
        self._threads = ThreadPoolExecutor(places, thread_name_prefix="offline")
        self._replica.warm_up()
        # Not before here: a constructor that raises tells Ray Serve why there is no replica.
        actor.engine.when_lost(_end_process)

    async def ask(self, request: Request) -> Reply | Refusal:
        """Answers an online request; a probe is none, and does not count as one."""
        if request.is_probe:
            return await self._replica.ask(request)
        with self._metrics.online(request.tenant) as record:
            reply = await self._replica.ask(request)
            record(reply)
        return reply

    async def process(
        self, prepared: pa.Buffer, wanted: Wanted, owners: Ints, expected: ModelIdentity, tenant: str = DEFAULT_TENANT
    ) -> PieceResult | Refusal:
        """Runs these owners of a prepared shard, [n], in the offline class.

        Args:
            prepared: IPC stream of a `Tokenized`; callers pass a reference to it.
            expected: the model that the job was planned with; the config may have changed since.
            tenant: whose job it is.
        """
        card = self._replica.card
        if card.identity != expected:
            return Refusal(
                409,
                ANOTHER_MODEL,
                f"these replicas hold {card.name} in {card.backend} {card.dtype} now, and the job was planned with "
                "another; run the same command again",
            )
        if tenant not in card.tenants:
            return Refusal(422, UNKNOWN_TENANT, f"the service has no tenant {tenant!r}; name one of its config")
        if self._replica.busy:
            return _ONLINE_FIRST
        if not await self._places.take(tenant):
            return Refusal(429, "offline_full", f"{self._places.in_hand} pieces of shards are in hand already", 1)
        tokens = 0
        try:
            # It may have waited for its place.
            if self._replica.busy:
                return _ONLINE_FIRST
            self._metrics.offline(self._places.in_hand)
            result = await in_thread(self._threads, self._replica.actor.process_part, prepared, wanted, owners)
            tokens = result[1].total.tokens
            self._metrics.finished(tenant, len(owners), tokens)
        except NoRoom as full:
            return Refusal(503, "no_room", str(full), 1)
        finally:
            self._places.give_back(tenant, tokens)
            self._metrics.offline(self._places.in_hand)
        return result

    async def card(self) -> ModelCard:
        """What the service tells about its model."""
        return self._replica.card

    async def spec(self) -> EncoderSpec:
        """The model's tokenizer and the templates of its windows."""
        return self._replica.actor.engine.spec

    def check_health(self) -> None:
        """Raises where online passes cannot succeed any more; Ray Serve then starts another replica."""
        self._replica.check_alive()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The load, for `autoscaling.OnlineLoad`."""
        return {ONLINE: float(self._replica.in_hand), OFFLINE: float(self._places.in_hand)}


def build(args: dict[str, Any]) -> Application:
    """The application of a config: the function that a Ray Serve config file imports.

    Raises:
        pydantic.ValidationError: an unknown key, or a value that does not fit.
    """
    return bind(ServiceParameters.model_validate(args), service_versions(sends_code=False))


def bind(
    service: ServiceParameters, versions: Mapping[str, str] | None = None, placement: Mapping[str, Any] | None = None
) -> Application:
    """The application of checked parameters.

    Args:
        versions: of packages, that every node with a replica must have; None asks for none.
        placement: options of Ray that say on which nodes replicas and gateways may lie; None takes any.

    Raises:
        ModelError: `model.backend: auto` of a model that cannot be found.
    """
    served = service.served()
    deployments = dict(zip(deployment_names(served), map(_settled, served), strict=True))
    placed, wanted = dict(placement or {}), dict(versions or {})
    deployment: Any = serve.deployment
    gateway = deployment(serve.ingress(app_builder(service, deployments))(), name=GATEWAY).options(
        num_replicas=service.gateway.replicas,
        ray_actor_options={"num_cpus": service.gateway.cpus, **placed},
        # The gateway refuses before these limits; beyond them requests would wait where deadlines have no effect.
        max_ongoing_requests=_ONGOING_FACTOR * service.limits.max_in_flight * len(served),
        # While there is no gateway, the proxy queues this many requests, and answers further ones with 503.
        max_queued_requests=service.limits.max_in_flight * len(served),
        # A request that a gateway holds is lost where the gateway is stopped, since no other one repeats it.
        graceful_shutdown_timeout_s=max(
            *(one.replicas.drain_seconds for one in served), service.limits.timeout_ms / 1000 + _SPARE_SECONDS
        ),
    )
    models = (_bind_model(service, name, deployments, wanted, placed) for name in deployments)
    application: Application = gateway.bind(*models)
    return application


def _bind_model(
    service: ServiceParameters,
    name: str,
    deployments: Mapping[str, ServedModel],
    versions: Mapping[str, str],
    placed: Mapping[str, Any],
) -> Application:
    """The deployment of one model among these, by their names."""
    one = deployments[name]
    replicas, sharing = one.replicas, service.sharing
    alone, public = service.of_one(one), one.public_name
    scaled: dict[str, Any] = {"num_replicas": replicas.min}
    if replicas.max > replicas.min:
        scaled = {"autoscaling_config": _autoscaling(alone)}
    deployment: Any = serve.deployment
    model = deployment(ModelDeployment, name=name).options(
        **scaled,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus, **placed},
        max_ongoing_requests=_ONGOING_FACTOR * sharing.queue_requests + sharing.offline_calls,
        graceful_shutdown_timeout_s=replicas.drain_seconds,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
    )
    others = tuple(other.replicas for key, other in deployments.items() if key != name)
    labels = {"model": public} if others else {}
    bound: Application = model.bind(alone, public, versions, labels, others)
    return bound


def deployment_names(served: Sequence[ServedModel]) -> list[str]:
    """The names of the deployments of a service's models: that of the first is the same whatever it is called."""
    return [MODEL, *(_deployment_name(one.public_name) for one in served[1:])]


def _deployment_name(public: str) -> str:
    # Ray Serve names log files after its deployments.
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", public)
    return f"{MODEL}-{safe}" if safe == public else f"{MODEL}-{safe}-{hashlib.sha256(public.encode()).hexdigest()[:8]}"


def holds_model(deployment: str) -> bool:
    """Whether the deployment of this name is that of a model."""
    return deployment == MODEL or deployment.startswith(f"{MODEL}-")


def what_does_not_fit(service: ServiceParameters) -> str | None:
    """A sentence on replicas, gateways included, for which the connected cluster has no room; None where it has."""
    named = [
        Replicas(one.public_name, one.replicas.min, one.replicas.cpus, one.replicas.gpus) for one in service.served()
    ]
    gateways = Replicas("gateway", service.gateway.replicas, service.gateway.cpus, 0.0)
    return shortage([*named, gateways], list(_machines().values()))


def _settled(one: ServedModel) -> ServedModel:
    """With its runtime decided once, so that all replicas have the same, whatever their machines remember."""
    return one.model_copy(update={"model": settled(one.model, one.model.on_gpu(one.replicas.gpus > 0))})


def _end_process(lost: DeviceLost) -> None:
    """Ends this replica, so that Ray Serve starts another one, and what is in hand is asked of others.

    At once, and with no reply to anybody: a replica that refuses in a millisecond has the shortest queue, and routers
    would send it most of the work until a health check finds it out.
    """
    logging.getLogger("ray.serve").error("%s; this replica ends, and Ray Serve starts another", lost)
    os._exit(1)


def _placed_model(service: ServiceParameters, beside: Sequence[ReplicaParameters]) -> ModelParameters:
    """The model with its threads and device on this machine."""
    threads = service.model.threads or _threads_here(service.replicas, beside)
    return service.model.placed(threads, with_gpu=service.replicas.gpus > 0)


def _threads_here(own: ReplicaParameters, beside: Sequence[ReplicaParameters]) -> int:
    """CPU threads of a replica on this machine; in a container, Ray has the CPUs of its limit."""
    machines = _machines()
    here, every = machines[ray.get_runtime_context().get_node_id()], list(machines.values())
    others = sum(replicas_here(here, every, other.max, other.cpus, other.gpus) for other in beside)
    return threads_of_replica(here, every, own.max, own.cpus, own.gpus, others)


def _machines() -> dict[str, dict[str, float]]:
    """Resources of every machine of the connected cluster, by its id."""
    nodes: Any = ray.nodes  # has no annotations
    return {node["NodeID"]: node["Resources"] for node in nodes() if node["Alive"]}


def _autoscaling(service: ServiceParameters) -> AutoscalingConfig:
    replicas = service.replicas
    policy = AutoscalingPolicy(  # type: ignore[no-untyped-call]
        policy_function="actors.serving.autoscaling:OnlineLoad",
        policy_kwargs={"online_calls": replicas.online_calls, "count_offline": replicas.count_offline},
    )
    return AutoscalingConfig(
        min_replicas=replicas.min,
        max_replicas=replicas.max,
        upscale_delay_s=replicas.up_seconds,
        look_back_period_s=replicas.up_seconds,
        downscale_delay_s=replicas.down_seconds,
        policy=policy,
    )
