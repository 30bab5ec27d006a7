"""Whether the service lives, and whether it is ready: for those who run it."""

from fastapi import APIRouter

from actors.serving.context import Context
from actors.serving.family import Family
from actors.serving.refusals import plain


def family(context: Context) -> Family:
    """`/live` and `/ready`."""
    router = APIRouter()

    @router.get("/live")
    async def live() -> dict[str, str]:
        """The process lives. Says nothing of the model."""
        return {"status": "live"}

    @router.get("/ready")
    async def ready() -> dict[str, str]:
        """A forward pass of the model just succeeded."""
        await context.dispatcher.ready()
        return {"status": "ready", "model": context.model}

    return Family("Service", router, plain)
