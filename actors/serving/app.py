"""The HTTP application: all families of routes, behind identity, keys and limits."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

from actors.serving.context import Context
from actors.serving.errors import refusal_of
from actors.serving.middleware.access_log import REQUEST_ID, TIMES, AccessLogMiddleware, Watcher
from actors.serving.middleware.auth import MISSING, AuthMiddleware, read_keys
from actors.serving.middleware.body_limit import BodyLimitMiddleware
from actors.serving.middleware.disconnect import DisconnectMiddleware
from actors.serving.parameters import CorsParameters, KeyParameters
from actors.serving.protocols import health, huggingface, native, oip, openai, tei
from actors.serving.protocols.base import ErrorResponses, ProtocolRoutes
from actors.serving.types import Refusal, Refused

FAMILIES: tuple[Callable[[Context], ProtocolRoutes], ...] = (
    huggingface.family,
    native.family,
    openai.family,
    tei.family,
    oip.family,
    health.family,
)
"""In the order in which they stand at /docs."""

_EXAMPLES = (
    Refusal(401, "unauthorized", MISSING),
    Refusal(413, "too_many_inputs", "300 inputs are more than 256; send them in parts"),
    Refusal(422, "invalid", "parameters.top_k: input should be a valid integer"),
    Refusal(429, "queue_full", "64 requests wait already; try again later", retry_after=1),
    Refusal(503, "not_ready", "no model actor is ready; try again later", retry_after=1),
)


def build_app(
    context: Context,
    keys: KeyParameters,
    cors: CorsParameters,
    signed: bool = False,
    watcher: Watcher | None = None,
) -> FastAPI:
    """The application over a dispatcher.

    Args:
        signed: whether the server puts the request's id on responses by itself, as Ray Serve's proxy does.
        watcher: is told of every request when it has ended.

    Raises:
        NoKeys: keys are asked for, and there are none.
    """
    families = [make(context) for make in FAMILIES]
    refusals = ErrorResponses(families, context.limits.retry_after_seconds)
    app = FastAPI(
        title="Spanmill", summary=f"Answers and embeddings by {context.model}", redirect_slashes=False, redoc_url=None
    )
    for family in families:
        app.include_router(family.router, tags=[family.name], responses=_refused(family))
    _handle_errors(app, refusals)
    # From the innermost to the outermost.
    app.add_middleware(DisconnectMiddleware)
    app.add_middleware(BodyLimitMiddleware, limits=context.limits, refusals=refusals)
    if known := read_keys(keys):
        app.add_middleware(AuthMiddleware, keys=known, refusals=refusals)
    if cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID, *TIMES, "Retry-After"],
        )
    app.add_middleware(AccessLogMiddleware, refusals=refusals, signed=signed, watcher=watcher)
    return app


def _handle_errors(app: FastAPI, refusals: ErrorResponses) -> None:
    async def handle(http: Request, error: Exception) -> Response:
        return refusals.response(http.scope, refusal_of(error))

    for kind in (Refused, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def _refused(family: ProtocolRoutes) -> dict[int | str, dict[str, Any]]:
    return {
        refusal.status: {
            "description": refusal.reason,
            "content": {"application/json": {"example": family.shape(refusal)}},
        }
        for refusal in _EXAMPLES
    }
