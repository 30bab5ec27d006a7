"""The Ray Serve application: a gateway that speaks HTTP, and the model actors behind it.

A Ray Serve config file names `actors.serving.deployments:build`, with the keys of `ServiceParameters` as its args.
"""

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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
from actors.models.names import public_name
from actors.models.precision import with_precision
from actors.parameters import ModelParameters
from actors.serving.autoscaling import OFFLINE, ONLINE
from actors.serving.gateway.builder import app_builder
from actors.serving.model_card import describe, settled
from actors.serving.node_check import check_versions, service_versions
from actors.serving.parameters import ServiceParameters
from actors.serving.placement import threads_of_replica
from actors.serving.prometheus import ReplicaMetrics
from actors.serving.replica.replica import Replica
from actors.serving.replica.threads import in_thread
from actors.serving.types import ModelCard, Refusal, Reply, Request
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tracing.environment import tracing_here

APPLICATION = "spanmill"
MODEL, GATEWAY = "model", "gateway"
"""Names of the deployments."""

PieceResult = tuple[pa.Table, PassStats]
"""Result columns of a piece of a shard, one row per owner, and the statistics of its passes."""

_SPARE_SECONDS = 5.0
_ONGOING_FACTOR = 2
"""A replica accepts this many times its queue from Ray Serve, so that it refuses by itself, and no request waits in Ray
Serve, where deadlines have no effect."""


class ModelDeployment:
    """One model actor as a replica of Ray Serve."""

    def __init__(self, service: ServiceParameters, versions: Mapping[str, str]) -> None:
        """Loads the model, and runs real forward passes; the replica is ready after them.

        Args:
            versions: of packages, that the node must have.
        """
        check_versions(versions)
        model = _placed_model(service)
        folder = find_model(model)
        model = with_precision(folder, model)
        card = describe(folder, model)
        actor = ModelActor(model, service.batching, with_qa_head=card.answers, sharing=service.sharing)
        self._replica = Replica(actor, card, service.sharing, service.limits, tracing_here())
        self._metrics = ReplicaMetrics(self._replica)
        self._most_offline = service.sharing.offline_calls
        self._offline = 0
        self._threads = ThreadPoolExecutor(self._most_offline, thread_name_prefix="offline")
        self._replica.warm_up()
        # Not before here: a constructor that raises tells Ray Serve why there is no replica.
        actor.engine.when_lost(_end_process)

    async def ask(self, request: Request) -> Reply | Refusal:
        """Answers an online request; a probe is none, and does not count as one."""
        if request.is_probe:
            return await self._replica.ask(request)
        with self._metrics.online() as record:
            reply = await self._replica.ask(request)
            record(reply)
        return reply

    async def process(self, prepared: pa.Buffer, wanted: Wanted, owners: Ints) -> PieceResult | Refusal:
        """Runs these owners of a prepared shard, [n], in the offline class.

        Args:
            prepared: IPC stream of a `Tokenized`; callers pass a reference to it.
        """
        if self._offline >= self._most_offline:
            return Refusal(429, "offline_full", f"{self._offline} chunks of shards are in hand already", 1)
        if self._replica.busy:
            return Refusal(429, "online_first", "online requests need the room", 1)
        self._offline += 1
        self._metrics.offline(self._offline)
        rows = 0
        try:
            result = await in_thread(self._threads, self._replica.actor.process_part, prepared, wanted, owners)
            rows = len(owners)
        except NoRoom as full:
            return Refusal(503, "no_room", str(full), 1)
        finally:
            self._offline -= 1
            self._metrics.offline(self._offline, rows)
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
        return {ONLINE: float(self._replica.in_hand), OFFLINE: float(self._offline)}


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
    # Decided once, so that all replicas have the same, whatever their machines remember.
    pinned = settled(service.model, service.model.on_gpu(service.replicas.gpus > 0))
    service = service.model_copy(update={"model": pinned})
    replicas, sharing = service.replicas, service.sharing
    scaled: dict[str, Any] = {"num_replicas": replicas.min}
    if replicas.max > replicas.min:
        scaled = {"autoscaling_config": _autoscaling(service)}
    deployment: Any = serve.deployment
    model = deployment(ModelDeployment, name=MODEL).options(
        **scaled,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus, **(placement or {})},
        max_ongoing_requests=_ONGOING_FACTOR * sharing.queue_requests + sharing.offline_calls,
        graceful_shutdown_timeout_s=replicas.drain_seconds,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
    )
    build_app = app_builder(service, MODEL, public_name(service.model.name))
    gateway = deployment(serve.ingress(build_app)(), name=GATEWAY).options(
        num_replicas=service.gateway.replicas,
        ray_actor_options={"num_cpus": service.gateway.cpus, **(placement or {})},
        # The gateway refuses before this limit; beyond it requests would wait where deadlines have no effect.
        max_ongoing_requests=_ONGOING_FACTOR * service.limits.max_in_flight,
        # While there is no gateway, the proxy queues this many requests, and answers further ones with 503.
        max_queued_requests=service.limits.max_in_flight,
        # A request that a gateway holds is lost where the gateway is stopped, since no other one repeats it.
        graceful_shutdown_timeout_s=max(replicas.drain_seconds, service.limits.timeout_ms / 1000 + _SPARE_SECONDS),
    )
    application: Application = gateway.bind(model.bind(service, versions or {}))
    return application


def _end_process(lost: DeviceLost) -> None:
    """Ends this replica, so that Ray Serve starts another one, and what is in hand is asked of others.

    At once, and with no reply to anybody: a replica that refuses in a millisecond has the shortest queue, and routers
    would send it most of the work until a health check finds it out.
    """
    logging.getLogger("ray.serve").error("%s; this replica ends, and Ray Serve starts another", lost)
    os._exit(1)


def _placed_model(service: ServiceParameters) -> ModelParameters:
    """The model with its threads and device on this machine."""
    threads = service.model.threads or _threads_here(service)
    return service.model.placed(threads, with_gpu=service.replicas.gpus > 0)


def _threads_here(service: ServiceParameters) -> int:
    """CPU threads of a replica on this machine; in a container, Ray has the CPUs of its limit."""
    nodes: Any = ray.nodes  # has no annotations
    machines = {node["NodeID"]: node["Resources"] for node in nodes() if node["Alive"]}
    here, replicas = machines[ray.get_runtime_context().get_node_id()], service.replicas
    return threads_of_replica(here, list(machines.values()), replicas.max, replicas.cpus, replicas.gpus)


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
