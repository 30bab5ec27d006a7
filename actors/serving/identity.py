"""Every request has an id, a line in the log, and headers that say where its time went."""

import logging
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.serving.refusals import Refusals, refusal_of
from actors.serving.requests import Timing

LOGGER = logging.getLogger("spanmill.requests")
"""A record for every request, with the fields `id`, `route`, `status`, `ms`, `rows`; never bodies, never keys."""

REQUEST_ID = "X-Request-Id"
TIMES = ("X-Queue-Ms", "X-Tokenise-Ms", "X-Inference-Ms")
"""Headers of responses whose request reached a model actor."""

_LONGEST_ID = 128
_CLIENT_GONE = 499


class IdentityMiddleware:
    """The outermost of the service's own: what fails further in is still named, logged and answered."""

    def __init__(self, app: ASGIApp, refusals: Refusals) -> None:
        """Leaves the id in `state.request_id`; takes `state.timing` and `state.rows` from where requests are asked."""
        self._app = app
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        state = scope.setdefault("state", {})
        state["request_id"] = _id_of(scope)
        # Nobody was told anything, unless a response begins.
        status = _CLIENT_GONE

        async def signed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _sign(MutableHeaders(scope=message), state)
            await send(message)

        try:
            await self._app(scope, receive, signed)
        except Exception as error:
            LOGGER.exception("request failed", extra={"id": state["request_id"]})
            if status != _CLIENT_GONE:
                raise
            await self._refusals.response(scope, refusal_of(error))(scope, receive, signed)
        finally:
            _log(scope, status, time.perf_counter() - started)


def _id_of(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    fits = 0 < len(given) <= _LONGEST_ID and given.isascii() and given.isprintable()
    return given if fits else uuid4().hex


def _sign(headers: MutableHeaders, state: dict[str, object]) -> None:
    headers[REQUEST_ID] = str(state["request_id"])
    timing = state.get("timing")
    if isinstance(timing, Timing):
        for name, value in zip(TIMES, (timing.queue, timing.tokenise, timing.inference), strict=True):
            headers[name] = f"{value:.1f}"


def _log(scope: Scope, status: int, seconds: float) -> None:
    state = scope["state"]
    route = getattr(scope.get("route"), "path", "unknown")
    fields = {"id": state["request_id"], "route": f"{scope['method']} {route}", "status": status}
    LOGGER.info("request", extra=fields | {"ms": round(seconds * 1000, 1), "rows": state.get("rows", 0)})
