"""Every request has an id, a line in the log, and headers that say where its time went."""

import logging
import time
from collections.abc import Callable
from uuid import uuid4

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.serving.errors import refusal_of
from actors.serving.protocols.base import ErrorResponses
from actors.serving.types import Timing

LOGGER = logging.getLogger("spanmill.requests")
"""A line of JSON for every request: id, route, status, ms, rows, and where the time went; never bodies, never keys."""

REQUEST_ID = "X-Request-Id"
TIMES = {"X-Queue-Ms": "queue_ms", "X-Tokenise-Ms": "tokenise_ms", "X-Inference-Ms": "inference_ms"}
"""Headers of responses whose request reached a model actor, and what the log calls them."""

Watcher = Callable[[str | None, int, float], None]
"""Takes the route's path (None for paths that no route knows), the status and the seconds of every request."""

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
    """The outermost of the service's own: what fails further in is still named, logged and answered."""

    def __init__(
        self, app: ASGIApp, refusals: ErrorResponses, signed: bool = False, watcher: Watcher | None = None
    ) -> None:
        """Leaves the id in `state.request_id`; takes `state.timing` and `state.rows` from where requests are asked.

        Args:
            signed: whether the server puts the id on responses by itself.
            watcher: is told of every request when it has ended.
        """
        self._app = app
        self._refusals = refusals
        self._signed = signed
        self._watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"] = _id_of(scope, self._signed)
        # Nobody was told anything, unless a response begins.
        status = _CLIENT_GONE

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update({name: f"{ms:.1f}" for name, ms in _times(state).items()})
                if not self._signed:
                    headers[REQUEST_ID] = state["request_id"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as error:
            LOGGER.exception("request %s failed", state["request_id"])
            if status != _CLIENT_GONE:
                raise
            await self._refusals.response(scope, refusal_of(error))(scope, receive, note)
        finally:
            seconds, path = time.perf_counter() - started, getattr(scope.get("route"), "path", None)
            _log(scope, path, status, seconds)
            if self._watcher is not None:
                self._watcher(path, status, seconds)


def _id_of(scope: Scope, signed: bool) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    fits = 0 < len(given) <= _LONGEST_ID and given.isascii() and given.isprintable()
    # A server that signs has signed with what it was given, and the log must be found by that.
    return given[:_LONGEST_ID] if given and (fits or signed) else uuid4().hex


def _times(state: dict[str, object]) -> dict[str, float]:
    """Milliseconds by header; none for a request that no model actor answered."""
    timing = state.get("timing")
    if not isinstance(timing, Timing):
        return {}
    return dict(zip(TIMES, (round(ms, 1) for ms in (timing.queue, timing.tokenise, timing.inference)), strict=True))


def _log(scope: Scope, path: str | None, status: int, seconds: float) -> None:
    state = scope["state"]
    line = {
        "id": state["request_id"],
        "route": f"{scope['method']} {path or 'unknown'}",
        "status": status,
        "ms": round(seconds * 1000, 1),
        "rows": state.get("rows", 0),
        **{TIMES[name]: ms for name, ms in _times(state).items()},
    }
    LOGGER.info(orjson.dumps(line).decode())
