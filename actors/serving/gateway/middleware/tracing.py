"""The span of a request in the gateway, which goes on with the trace that a client has begun."""

from opentelemetry.trace import Span
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.serving.gateway.middleware.auth import needs_no_key
from actors.serving.gateway.page.routes import asks_for_page
from actors.tracing.context import TraceContext
from actors.tracing.tracing import STOPPED, Tracing, context_of, end_with, fail, refuse, trace_id_of

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_OTHER = "_OTHER"
_FROM_STATE = {"spanmill.rows": "rows", "spanmill.request.id": "request_id", "spanmill.tenant": "tenant"}


class TracingMiddleware:
    """Makes a server span of every request, by the conventions for HTTP: probes, metrics and the page are left out.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span says what its attributes mean. Paths
    are left out, where a client may have written anything: `http.route` has their pattern.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing, health_route: str | None = None) -> None:
        """Sets `state.trace` for `submit.ask`, and `state.trace_id` for the access log, which is around it.

        Args:
            health_route: a further path of the probe /ready.
        """
        self._app = app
        self._tracing = tracing
        self._health_route = health_route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http" or self._is_watching(scope):
            await self._app(scope, receive, send)
            return
        # Its route is not known before the application has looked for it.
        span = self._tracing.start(_method(scope), _given(scope), _attributes(scope), "server")
        state = scope.setdefault("state", {})
        state["trace"], state["trace_id"] = context_of(span), trace_id_of(span)
        status: int | None = None
        error: BaseException | None = None

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if span.is_recording():
                _describe(span, scope, status, error)
            span.end()

    def _is_watching(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        is_page = path == "/" and asks_for_page(scope)
        return is_page or path == "/metrics" or needs_no_key(path, self._health_route)


def _describe(span: Span, scope: Scope, status: int | None, error: BaseException | None) -> None:
    state, route = scope["state"], getattr(scope.get("route"), "path", None)
    if route is not None:
        span.update_name(f"{_method(scope)} {route}")
        span.set_attribute("http.route", route)
    for name, key in _FROM_STATE.items():
        if key in state:
            span.set_attribute(name, state[key])
    if isinstance(error, Exception):
        # The access log, which is around this, answers so where no response has begun.
        status = status or 500
    if status is None:
        # The client hung up before it had a response.
        span.set_attribute(STOPPED, True)
        return
    span.set_attribute("http.response.status_code", status)
    if error is not None:
        end_with(span, error)
    elif "refused" in state:
        refuse(span, status, state["refused"])
    elif status >= 500:
        fail(span, str(status))


def _method(scope: Scope) -> str:
    # Anybody may make up another one, and names of spans are few.
    return scope["method"] if scope["method"] in _METHODS else "HTTP"


def _attributes(scope: Scope) -> dict[str, str]:
    method = scope["method"] if scope["method"] in _METHODS else _OTHER
    return {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}


def _given(scope: Scope) -> TraceContext | None:
    """The span of the client; None where it names none, or two."""
    headers = Headers(scope=scope)
    given = headers.getlist("traceparent")
    return TraceContext(given[0], ",".join(headers.getlist("tracestate"))) if len(given) == 1 else None
