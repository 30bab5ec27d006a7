"""What Amazon SageMaker asks of the containers that it hosts: `/ping` and `/invocations`.

The contract is that of "Custom Inference Code with Hosting Services" in its developer guide: `/ping` says 200 with an
empty body, within two seconds, once requests can come; `/invocations` takes what the endpoint's callers send.
"""

from fastapi import APIRouter, Response

from actors.serving.gateway.context import Context
from actors.serving.gateway.errors import plain_body
from actors.serving.gateway.protocols.base import ProtocolRoutes
from actors.serving.gateway.protocols.bodies.json_body import bounded_route
from actors.serving.gateway.protocols.huggingface import EXAMPLE_ANSWER, Inference


def routes(context: Context) -> ProtocolRoutes:
    """`/ping` and `/invocations`, which takes and gives what Hugging Face's route `/` does."""
    router = APIRouter(route_class=bounded_route(context.limits.max_inputs))
    router.post("/invocations", responses=EXAMPLE_ANSWER)(Inference(context).infer)

    @router.get("/ping")
    async def ping() -> Response:
        """200 with an empty body where a real forward pass succeeds."""
        await context.ready()
        return Response()

    return ProtocolRoutes("SageMaker", router, plain_body)
