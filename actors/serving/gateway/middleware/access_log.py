"""The access log: an id and a line of JSON for every request, and headers with the times of its reply."""

import logging
import time
from collections.abc import Callable
from uuid import uuid4

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.serving.gateway.errors import refusal_of
from actors.serving.gateway.protocols.base import ErrorResponses
from actors.serving.types import Timing
from actors.tenants import NO_TENANT

LOGGER = logging.getLogger("spanmill.requests")
"""A line of JSON for every request: id, route, status, milliseconds, rows, tenant, model where there are several, id of
its trace, times; never its body, never its key."""

REQUEST_ID = "X-Request-Id"
TIMES = {"X-Queue-Ms": "queue_ms", "X-Tokenise-Ms": "tokenise_ms", "X-Inference-Ms": "inference_ms"}
"""Headers of responses by a model actor, and the names of the same times in the log."""

RequestObserver = Callable[[str | None, int, float, str, str | None], None]
"""Called at the end of a request with its route's path (None where no route has it), its status, its seconds, its
tenant (NO_TENANT where it showed no known key) and the model that it is about (None where it is about none, or ended
before that was known)."""

_LONGEST_ID = 128
_CLIENT_GONE = 499


def log_requests() -> None:
    """Has this process write its lines to stderr, which Ray keeps in the logs of the session."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


class AccessLogMiddleware:
    """The outermost middleware of the service: whatever fails inside still has an id, a log line and a response."""

    def __init__(
        self,
        app: ASGIApp,
        error_responses: ErrorResponses,
        server_sets_id: bool = False,
        observer: RequestObserver | None = None,
        names_models: bool = False,
    ) -> None:
        """Sets `state.request_id`; logs `state.timing` and `state.rows`, which `submit.ask` sets, `state.tenant` and
        `state.trace_id`.

        Args:
            server_sets_id: whether the server puts the id on responses by itself.
            observer: is called for every request when it has ended.
            names_models: whether lines have `state.model`, which says something where there are several.
        """
        self._app = app
        self._error_responses = error_responses
        self._server_sets_id = server_sets_id
        self._observer = observer
        self._names_models = names_models

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"] = _id_of(scope, self._server_sets_id)
        # Stays so where no response begins.
        status = _CLIENT_GONE

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update({name: f"{ms:.1f}" for name, ms in _times(state).items()})
                if not self._server_sets_id:
                    headers[REQUEST_ID] = state["request_id"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as error:
            LOGGER.exception("request %s failed", state["request_id"])
            if status != _CLIENT_GONE:
                raise
            await self._error_responses.response(scope, refusal_of(error))(scope, receive, note)
        finally:
            seconds, path = time.perf_counter() - started, getattr(scope.get("route"), "path", None)
            _log(scope, path, status, seconds, self._names_models)
            if self._observer is not None:
                self._observer(path, status, seconds, state.get("tenant", NO_TENANT), state.get("model"))


def _id_of(scope: Scope, server_sets_id: bool) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    fits = 0 < len(given) <= _LONGEST_ID and given.isascii() and given.isprintable()
    # Where the server sets the id it has used what the client sent, and the log must have the same.
    return given[:_LONGEST_ID] if given and (fits or server_sets_id) else uuid4().hex


def _times(state: dict[str, object]) -> dict[str, float]:
    """Milliseconds by header; none for a request that no model actor answered."""
    timing = state.get("timing")
    if not isinstance(timing, Timing):
        return {}
    return dict(zip(TIMES, (round(ms, 1) for ms in (timing.queue, timing.tokenise, timing.inference)), strict=True))


def _log(scope: Scope, path: str | None, status: int, seconds: float, names_model: bool) -> None:
    state = scope["state"]
    line = {
        "id": state["request_id"],
        "route": f"{scope['method']} {path or 'unknown'}",
        "status": status,
        "ms": round(seconds * 1000, 1),
        "rows": state.get("rows", 0),
        **({"model": state["model"]} if names_model and "model" in state else {}),
        **({"tenant": state["tenant"]} if "tenant" in state else {}),
        # The name that OpenTelemetry's conventions give it in logs.
        **({"trace_id": state["trace_id"]} if "trace_id" in state else {}),
        **{TIMES[name]: ms for name, ms in _times(state).items()},
    }
    LOGGER.info(orjson.dumps(line).decode())
