"""The Ray Serve application: a thin gateway that speaks HTTP, and the model actors behind it.

A Ray Serve config file names `actors.serving.deployments:build`, with the keys of `ServiceParameters` as its args.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from actors.arrays import Ints
from actors.engine.inference_task import Wanted
from actors.engine.pass_stats import PassStats
from actors.model_actor import ModelActor
from actors.models.hub import find_model
from actors.parameters import ModelParameters
from actors.serving.app import build_app
from actors.serving.autoscaling import OFFLINE, ONLINE
from actors.serving.context import Context
from actors.serving.handle_client import HandleClient
from actors.serving.http_metrics import RequestMetrics
from actors.serving.middleware.access_log import log_requests
from actors.serving.model_card import describe, shown_name
from actors.serving.parameters import ServiceParameters
from actors.serving.prometheus import ReplicaMetrics
from actors.serving.replica import Replica
from actors.serving.types import ModelCard, Refusal, Reply, Request
from actors.tokenization.encoder_spec import EncoderSpec

APPLICATION = "spanmill"
MODEL, GATEWAY = "model", "gateway"
"""Names of the deployments."""

Piece = tuple[pa.Table, PassStats]
"""Result columns, one row per owner, and what the passes did."""

_SPARE_SECONDS = 5.0
_HANDLE_ROOM = 2
"""How many times its queue a replica accepts, so that it refuses by itself and nothing waits where no deadline acts."""


class ModelDeployment:
    """One model actor as a replica of Ray Serve."""

    def __init__(self, service: ServiceParameters) -> None:
        """Loads the model; a replica is not ready before a real forward pass of it succeeded."""
        model = _placed(service)
        card = describe(find_model(model), model)
        actor = ModelActor(model, service.batching, with_qa_head=card.answers, sharing=service.sharing)
        self._replica = Replica(actor, card, service.sharing.queue_requests, service.limits)
        self._metrics = ReplicaMetrics(self._replica)
        self._most_offline = service.sharing.offline_calls
        self._offline = 0
        self._threads = ThreadPoolExecutor(self._most_offline, thread_name_prefix="offline")
        self._replica.warm_up()

    async def ask(self, request: Request) -> Reply | Refusal:
        """Answers an online request."""
        with self._metrics.online() as record:
            reply = await self._replica.ask(request)
            record(reply)
        return reply

    async def process(self, prepared: pa.Buffer, wanted: Wanted, owners: Ints) -> Piece | Refusal:
        """Runs these owners of a prepared shard, [n], in the offline class.

        Args:
            prepared: IPC stream of a `Prepared`; callers hand over its reference.
        """
        if self._offline >= self._most_offline:
            return Refusal(429, "offline_full", f"{self._offline} pieces of shards are in hand already", 1)
        if self._replica.busy:
            return Refusal(429, "online_first", "online requests need the room", 1)
        self._offline += 1
        self._metrics.offline(self._offline)
        rows = 0
        try:
            loop = asyncio.get_running_loop()
            piece = await loop.run_in_executor(
                self._threads, self._replica.actor.process_part, prepared, wanted, owners
            )
            rows = len(owners)
        finally:
            self._offline -= 1
            self._metrics.offline(self._offline, rows)
        return piece

    async def card(self) -> ModelCard:
        """What the service runs."""
        return self._replica.card

    async def spec(self) -> EncoderSpec:
        """The model's tokenizer and frames."""
        return self._replica.actor.engine.spec

    def check_health(self) -> None:
        """Raises where the thread of the online passes is gone: Ray Serve then starts another replica."""
        self._replica.check_alive()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What `scaling.OnlineLoad` goes by."""
        return {ONLINE: float(self._replica.in_hand), OFFLINE: float(self._offline)}


def build(args: dict[str, Any]) -> Application:
    """The application of a config: the function that a Ray Serve config file imports.

    Raises:
        pydantic.ValidationError: an unknown key, or a value that does not fit.
    """
    return bind(ServiceParameters.model_validate(args))


def bind(service: ServiceParameters) -> Application:
    """The application of checked parameters."""
    replicas, sharing = service.replicas, service.sharing
    scaled: dict[str, Any] = {"num_replicas": replicas.min}
    if replicas.max > replicas.min:
        scaled = {"autoscaling_config": _autoscaling(service)}
    deployment: Any = serve.deployment
    model = deployment(ModelDeployment, name=MODEL).options(
        **scaled,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        max_ongoing_requests=_HANDLE_ROOM * sharing.queue_requests + sharing.offline_calls,
        graceful_shutdown_timeout_s=replicas.drain_seconds,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
    )
    gateway = deployment(serve.ingress(_gateway(service))(), name=GATEWAY).options(
        num_replicas=service.gateway.replicas,
        ray_actor_options={"num_cpus": service.gateway.cpus},
        # Its own limit comes first; past this one Ray Serve would queue where no deadline acts.
        max_ongoing_requests=_HANDLE_ROOM * service.limits.max_in_flight,
        # Of the proxy, while there is no gateway: it answers 503 beyond.
        max_queued_requests=service.limits.max_in_flight,
        # Nobody asks again for those whom a gateway holds.
        graceful_shutdown_timeout_s=max(replicas.drain_seconds, service.limits.timeout_ms / 1000 + _SPARE_SECONDS),
    )
    application: Application = gateway.bind(model.bind(service))
    return application


def _placed(service: ServiceParameters) -> ModelParameters:
    """The model with its threads and device on this machine."""
    threads = service.model.threads or max(_cpus_here() // service.replicas.max, 1)
    return service.model.placed(threads, with_gpu=service.replicas.gpus > 0)


def _cpus_here() -> int:
    """CPUs that Ray has on this machine: in a container, those of its limit."""
    nodes: Any = ray.nodes  # has no annotations
    here = ray.get_runtime_context().get_node_id()
    return int(next(node["Resources"].get("CPU", 0) for node in nodes() if node["NodeID"] == here))


def _gateway(service: ServiceParameters) -> Callable[[], FastAPI]:
    """What makes the FastAPI app inside each gateway replica: a function, by which Ray Serve tells it from an app."""

    def build_in_replica() -> FastAPI:
        if service.gateway.log_requests:
            log_requests()
        application = serve.get_replica_context().app_name
        dispatcher = HandleClient(serve.get_deployment_handle(MODEL, application), service.limits)
        name = shown_name(service.model.name)
        context = Context(dispatcher, service.limits, service.qa, service.embedding, name, service.batching)
        return build_app(context, service.keys, service.cors, signed=True, watcher=RequestMetrics())

    return build_in_replica


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
