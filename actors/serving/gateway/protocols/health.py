"""Routes for operators: liveness, readiness and metrics."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from actors.serving.gateway.context import Context
from actors.serving.gateway.errors import plain_body
from actors.serving.gateway.protocols.base import ProtocolRoutes

MODEL_PROBES = frozenset({"/ready", "/health", "/ping"})
"""What hosts usually ask at; a GET says whether a forward pass of the model just succeeded. Named as the health route,
such a path stays as it is."""


def routes(context: Context) -> ProtocolRoutes:
    """`/live`, `/ready`, which may have a further path, and `/metrics`."""
    router = APIRouter()

    @router.get("/live")
    async def live() -> dict[str, str]:
        """The process lives. Says nothing of the model."""
        return {"status": "live"}

    @router.get("/ready")
    async def ready() -> dict[str, str]:
        """A forward pass of the model just succeeded."""
        await context.ready()
        return {"status": "ready", "model": ", ".join(context.models)}

    if context.health_route is not None and context.health_route not in MODEL_PROBES:
        router.get(context.health_route)(ready)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Metrics of the whole application, gateways and model actors of all machines, for Prometheus."""
        text = await context.client.metrics()
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return ProtocolRoutes("Service", router, plain_body)
