"""A family of routes: one protocol that clients speak, and how it says no."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Response
from starlette.routing import Route
from starlette.types import Scope

from actors.serving.errors import plain
from actors.serving.types import Refusal

_LATER = (429, 503)


@dataclass(frozen=True)
class ProtocolRoutes:
    """Routes, and how their protocol says no."""

    name: str
    """In metrics and in the OpenAPI document."""
    router: APIRouter
    shape: Callable[[Refusal], Mapping[str, object]]
    """The JSON body of a refusal."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """HTTP statuses of refusals by their reason, where the protocol has others than the refusals themselves."""


class ErrorResponses:
    """Says no by the protocol that a path belongs to."""

    def __init__(self, families: Sequence[ProtocolRoutes], retry_after_seconds: int) -> None:
        """Takes the families in the order in which their routes are looked for."""
        self._families = families
        self._retry_after = retry_after_seconds

    def response(self, scope: Scope, refusal: Refusal) -> Response:
        """The response to the request of an ASGI scope."""
        family = self._family(scope["path"].removeprefix(scope.get("root_path", "")))
        body = plain(refusal) if family is None else family.shape(refusal)
        status = refusal.status if family is None else family.statuses.get(refusal.reason, refusal.status)
        headers = {}
        if refusal.status in _LATER:
            headers["Retry-After"] = str(refusal.retry_after or self._retry_after)
        # Names that a client sent may hold halves of surrogate pairs.
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        return Response(content, status, headers, "application/json")

    def _family(self, path: str) -> ProtocolRoutes | None:
        for family in self._families:
            if any(isinstance(r, Route) and r.path_regex.match(path) for r in family.router.routes):
                return family
        return None
