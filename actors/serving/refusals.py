"""What can go wrong with a request → a refusal, in the words of the protocol that the client speaks."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Scope

from actors.serving.family import Family
from actors.serving.requests import Refusal, Refused

_SHOWN = 3
_LATER = (429, 503)


class Refusals:
    """Says no by the protocol that a path belongs to."""

    def __init__(self, families: Sequence[Family], retry_after_seconds: int) -> None:
        """Takes the families in the order in which their routes are looked for."""
        self._families = families
        self._retry_after = retry_after_seconds

    def response(self, scope: Scope, refusal: Refusal) -> Response:
        """The response to the request of an ASGI scope."""
        family = self._family(scope["path"].removeprefix(scope.get("root_path", "")))
        body = plain(refusal) if family is None else family.shape(refusal)
        headers = {}
        if refusal.status in _LATER:
            headers["Retry-After"] = str(refusal.retry_after or self._retry_after)
        # Names that a client sent may hold halves of surrogate pairs.
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        return Response(content, refusal.status, headers, "application/json")

    def _family(self, path: str) -> Family | None:
        for family in self._families:
            if any(isinstance(r, Route) and r.path_regex.match(path) for r in family.router.routes):
                return family
        return None


def plain(refusal: Refusal) -> dict[str, object]:
    """The body of a refusal where no protocol says otherwise."""
    return {"error": refusal.message, "reason": refusal.reason}


def refusal_of(error: Exception) -> Refusal:
    """Why a request failed, from what was raised on its way; "internal" where it is not the request's fault."""
    if isinstance(error, Refused):
        return error.refusal
    if isinstance(error, RequestValidationError | ValidationError):
        return _invalid(error.errors())
    if isinstance(error, HTTPException):
        return _http(error)
    return Refusal(500, "internal", "something went wrong here; the log has it under the id in X-Request-Id")


def _http(error: HTTPException) -> Refusal:
    if error.status_code == 404:
        return Refusal(404, "unknown_path", "there is no such path; /docs lists them")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another")
        return Refusal(405, "wrong_method", f"this path takes {allowed}, not this method; /docs lists them")
    if error.status_code == 400:
        return _unreadable(error.__cause__)
    return Refusal(error.status_code, "http", str(error.detail))


def _unreadable(cause: BaseException | None) -> Refusal:
    if isinstance(cause, RecursionError):
        return Refusal(400, "invalid", "the body is nested too deeply; send it flat")
    if isinstance(cause, UnicodeDecodeError):
        return Refusal(400, "invalid", f"the body is not UTF-8: byte {cause.start}; encode it anew")
    return Refusal(400, "invalid", f"the body is not JSON that can be read: {cause or 'broken'}")


def _invalid(errors: Sequence[Any]) -> Refusal:
    first = errors[0]
    if first["type"] == "json_invalid":
        where = first["loc"][-1]
        return Refusal(400, "invalid", f"the body is not JSON: {first['ctx']['error']} at character {where}")
    said = dict.fromkeys(f"{_field(error['loc'])}: {_problem(error)}" for error in errors)
    more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return Refusal(422, "invalid", "; ".join(list(said)[:_SHOWN]) + more)


def _field(place: Iterable[object]) -> str:
    steps = [str(step) for step in place]
    # Tags of unions stand in brackets.
    named = [step for step in steps[1:] if not step.startswith("(")]
    return ".".join(named)[:200] or steps[0]


def _problem(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such parameter here"
    message: str = error["msg"]
    return message[0].lower() + message[1:]
