"""The gateway: the HTTP application in its own processes, which load no model and nothing that would."""

from collections.abc import Callable

from fastapi import FastAPI
from ray import serve

from actors.serving.gateway.app import build_app
from actors.serving.gateway.context import Context
from actors.serving.gateway.handle_client import HandleClient
from actors.serving.gateway.middleware.access_log import log_requests
from actors.serving.parameters import ServiceParameters
from actors.serving.prometheus import RequestMetrics
from actors.tracing.environment import tracing_here


def app_builder(service: ServiceParameters, deployment: str, name: str) -> Callable[[], FastAPI]:
    """A function that makes the FastAPI app in each replica of the gateway; Ray Serve calls functions, and not apps.

    Args:
        deployment: the deployment of the same application whose replicas hold the model.
        name: the model's, as clients see it.
    """

    def build_in_replica() -> FastAPI:
        if service.gateway.log_requests:
            log_requests()
        application = serve.get_replica_context().app_name
        tracing = tracing_here()
        handle, weights = serve.get_deployment_handle(deployment, application), service.weights
        client = HandleClient(handle, service.limits, tracing, weights)
        health_route = service.gateway.health_route
        context = Context(
            client, service.limits, service.qa, service.embedding, name, service.batching, health_route, weights
        )
        return build_app(
            context,
            service.keys,
            service.cors,
            server_sets_id=True,
            observer=RequestMetrics(health_route),
            tracing=tracing,
            tenants=service.tenants,
            gateways=service.gateway.replicas,
        )

    return build_in_replica
