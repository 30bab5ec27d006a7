"""What a protocol is made of, its routes and its error bodies; and the error response for any path."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Response
from starlette.routing import Route
from starlette.types import Scope

from actors.serving.gateway.errors import plain_body
from actors.serving.types import Refusal

_RETRYABLE = (429, 503)


@dataclass(frozen=True)
class ProtocolRoutes:
    """The routes of one protocol, and the form of its errors."""

    name: str
    """Heading of its routes in the OpenAPI document."""
    router: APIRouter
    error_body: Callable[[Refusal], Mapping[str, object]]
    """The JSON body of a refusal."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """HTTP statuses by the reason of a refusal, where the protocol has another one than `Refusal.status`."""


class ErrorResponses:
    """Makes the response of a refusal, in the form of the protocol that the path belongs to."""

    def __init__(self, protocols: Sequence[ProtocolRoutes], retry_after_seconds: int) -> None:
        """Takes the protocols in the order in which their routes are matched.

        Args:
            retry_after_seconds: for refusals that do not say it themselves.
        """
        self._protocols = protocols
        self._retry_after = retry_after_seconds

    def response(self, scope: Scope, refusal: Refusal) -> Response:
        """The response to the request of an ASGI scope; leaves the reason in `state.refused`, for its trace."""
        scope.setdefault("state", {})["refused"] = refusal.reason
        protocol = self._protocol(scope["path"].removeprefix(scope.get("root_path", "")))
        body = plain_body(refusal) if protocol is None else protocol.error_body(refusal)
        status = refusal.status if protocol is None else protocol.statuses.get(refusal.reason, refusal.status)
        headers = {}
        if refusal.status in _RETRYABLE:
            headers["Retry-After"] = str(refusal.retry_after or self._retry_after)
        # Names that a client sent may hold halves of surrogate pairs.
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        return Response(content, status, headers, "application/json")

    def _protocol(self, path: str) -> ProtocolRoutes | None:
        for protocol in self._protocols:
            if any(isinstance(r, Route) and r.path_regex.match(path) for r in protocol.router.routes):
                return protocol
        return None
