"""The HTTP application of a gateway: the routes of all protocols, behind request ids, API keys and limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from actors.serving.gateway.context import Context
from actors.serving.gateway.errors import refusal_of
from actors.serving.gateway.middleware.access_log import REQUEST_ID, TIMES, AccessLogMiddleware, RequestObserver
from actors.serving.gateway.middleware.auth import MISSING, OPEN, AuthMiddleware, key_uses, needs_no_key
from actors.serving.gateway.middleware.body_limit import BodyLimitMiddleware
from actors.serving.gateway.middleware.disconnect import DisconnectMiddleware
from actors.serving.gateway.model_paths import ModelPathMiddleware, ModelRoutes
from actors.serving.gateway.page.routes import page_router
from actors.serving.gateway.protocols import encode, health, huggingface, native, openai, sagemaker, tei
from actors.serving.gateway.protocols.base import ErrorResponses, ProtocolRoutes
from actors.serving.gateway.protocols.oip import routes as oip
from actors.serving.key_parameters import KeyParameters, TenantParameters
from actors.serving.parameters import CorsParameters
from actors.serving.types import Refusal, Refused
from actors.version import release

if TYPE_CHECKING:
    from actors.tracing.tracing import Tracing

PROTOCOLS: tuple[Callable[[Context], ProtocolRoutes], ...] = (
    huggingface.routes,
    native.routes,
    encode.routes,
    openai.routes,
    tei.routes,
    oip.routes,
    sagemaker.routes,
    health.routes,
)
"""What makes the routes of each protocol, in the order of /docs. A new protocol is added here."""

_KEY_SCHEME = {"type": "http", "scheme": "bearer", "description": "An API key, sent as `Authorization: Bearer KEY`."}
_REFUSALS = (
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
    server_sets_id: bool = False,
    observer: RequestObserver | None = None,
    tracing: "Tracing | None" = None,
    tenants: Mapping[str, TenantParameters] | None = None,
    gateways: int = 1,
) -> FastAPI:
    """The HTTP application: the routes of the first model, and where there are several, those of each below its name.

    Args:
        server_sets_id: whether the server puts the request's id on responses by itself, as Ray Serve's proxy does.
        observer: is called for every request when it has ended.
        tracing: exports spans of requests; None exports none.
        tenants: who has keys of their own; None for nobody.
        gateways: how many there are of this one's kind; each allows its part of the limits of a key.

    Raises:
        NoKeysError: there are no keys, and `keys.none` does not say that none are wanted.
        KeysError: the keys cannot be used for another reason.
        ValueError: the health route is the path of something else.
    """
    protocols = [routes(context) for routes in PROTOCOLS]
    error_responses = ErrorResponses(protocols, context.limits.retry_after_seconds)
    uses = key_uses(keys, tenants or {}, gateways)
    _check_health_route(context.health_route, protocols)
    app = _routed(context, protocols, wants_key=not keys.none)
    if context.others:
        _add_models(app, context, wants_key=not keys.none)
    _handle_errors(app, error_responses)
    # What is added last runs first.
    app.add_middleware(DisconnectMiddleware)
    app.add_middleware(
        BodyLimitMiddleware, limits=context.limits, error_responses=error_responses, weights=context.weights
    )
    app.add_middleware(AuthMiddleware, keys=uses, error_responses=error_responses, health_route=context.health_route)
    if cors.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID, *TIMES, "Retry-After"],
        )
    if tracing is not None:
        # It brings OpenTelemetry.
        from actors.serving.gateway.middleware.tracing import TracingMiddleware

        app.add_middleware(TracingMiddleware, tracing=tracing, health_route=context.health_route)
    app.add_middleware(
        AccessLogMiddleware,
        error_responses=error_responses,
        server_sets_id=server_sets_id,
        observer=observer,
        names_models=bool(context.others),
    )
    if context.others:
        app.add_middleware(ModelPathMiddleware, models=context.models)
    return app


def _routed(context: Context, protocols: Sequence[ProtocolRoutes], wants_key: bool) -> "_Documented":
    """The routes of one model, and their document."""
    app = _Documented(context, wants_key)
    for protocol in protocols:
        app.include_router(protocol.router, tags=[protocol.name], responses=_documented_refusals(protocol))
    # After the protocols: what is sent to `/` with another method is told what the protocol takes there.
    app.include_router(page_router())
    return app


def _add_models(app: FastAPI, context: Context, wants_key: bool) -> None:
    """Adds the routes of every model, for paths below its name."""
    for one in (replace(context, others=()), *context.others):
        routed = _routed(one, [routes(one) for routes in PROTOCOLS], wants_key)
        app.router.routes.insert(0, ModelRoutes(one.model, routed.router))

    @app.get("/models/{model:path}", include_in_schema=False)
    async def read(model: str) -> None:
        """Says which models there are; what is below the name of one never comes here."""
        context.named(model)
        raise HTTPException(405, headers={"Allow": "POST"})


class _Documented(FastAPI):
    """The application, whose OpenAPI document says what needs a key."""

    def __init__(self, context: Context, wants_key: bool) -> None:
        super().__init__(
            title="Spanmill",
            summary=f"Answers and embeddings by {context.model}",
            description=_of_several(context) if context.others else "",
            version=release(),
            redirect_slashes=False,
            docs_url=None,
            redoc_url=None,
            # FastAPI's own spans and logs would hold paths, queries and texts of errors; see middleware/tracing.py.
            telemetry={"tracing": False, "metrics": False, "logs": False},
        )
        self._wants_key = wants_key
        self._health_route = context.health_route

    def openapi(self) -> dict[str, Any]:
        """The document; made when it is asked for the first time."""
        if self.openapi_schema is None and self._wants_key:
            document = super().openapi()
            document["components"]["securitySchemes"] = {"key": _KEY_SCHEME}
            document["security"] = [{"key": []}]
            for path, operations in document["paths"].items():
                if needs_no_key(path, self._health_route) and "get" in operations:
                    operations["get"]["security"] = []
        return super().openapi()


def _of_several(context: Context) -> str:
    pages = ", ".join(f"[{name}](/models/{name}/docs)" for name in context.models)
    return (
        f"This service has several models: {pages}. These routes are answered by {context.model}, unless the request "
        "names another; below /models/NAME, all of them are answered by the model of that name."
    )


def _check_health_route(path: str | None, protocols: Sequence[ProtocolRoutes]) -> None:
    """Raises ValueError where a path that has a meaning of its own is named as the health route: it would need no key.

    A probe that says the same as /ready is no such path.
    """
    if path is None or path in health.MODEL_PROBES:
        return
    routes = [route for protocol in protocols for route in protocol.router.routes if isinstance(route, APIRoute)]
    answering = [route for route in routes if "GET" in (route.methods or ()) and route.path_regex.match(path)]
    # One of those that answer is the health route itself.
    if OPEN.fullmatch(path) or len(answering) > 1:
        raise ValueError(f"gateway.health_route: {path} is a route already; name a path that /docs does not list")


def _handle_errors(app: FastAPI, error_responses: ErrorResponses) -> None:
    async def handle(http: Request, error: Exception) -> Response:
        return error_responses.response(http.scope, refusal_of(error))

    for kind in (Refused, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def _documented_refusals(protocol: ProtocolRoutes) -> dict[int | str, dict[str, Any]]:
    return {
        refusal.status: {
            "description": refusal.reason,
            "content": {"application/json": {"example": protocol.error_body(refusal)}},
        }
        for refusal in _REFUSALS
    }
