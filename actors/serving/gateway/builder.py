"""The gateway: the HTTP application in its own processes, which load no model and nothing that would."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from fastapi import FastAPI
from ray import serve

from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.gateway.handle_client import HandleClient
from actors.serving.gateway.middleware.access_log import log_requests
from actors.serving.parameters import ServedModel, ServiceParameters
from actors.serving.prometheus import RequestMetrics
from actors.tracing.environment import tracing_here


def app_builder(service: ServiceParameters, deployments: Mapping[str, ServedModel]) -> Callable[[], FastAPI]:
    """A function that makes the FastAPI app in each replica of the gateway; Ray Serve calls functions, and not apps.

    Args:
        deployments: those of the same application whose replicas hold the models; the first answers where a request
            names no model.
    """

    def build_in_replica() -> FastAPI:
        if service.gateway.log_requests:
            log_requests()
        application = serve.get_replica_context().app_name
        tracing = tracing_here()
        health_route, weights = service.gateway.health_route, service.weights

        def context_of(deployment: str, one: ServedModel) -> Context:
            handle = serve.get_deployment_handle(deployment, application)
            client = HandleClient(handle, service.limits, tracing, weights)
            name, limits = one.public_name, service.limits
            return Context(client, limits, one.qa, one.embedding, name, one.batching, health_route, weights=weights)

        first, *others = (context_of(deployment, one) for deployment, one in deployments.items())
        return build_app(
            replace(first, others=tuple(others)),
            service.keys,
            service.cors,
            server_sets_id=True,
            observer=RequestMetrics(health_route, names_models=bool(others)),
            tracing=tracing,
            tenants=service.tenants,
            gateways=service.gateway.replicas,
        )

    return build_in_replica
