"""From exceptions to refusals: why a request failed, and what the client is told."""

from fastapi.exceptions import RequestValidationError
from ray.exceptions import RayActorError
from starlette.exceptions import HTTPException

from actors.serving.invalid import invalid
from actors.serving.types import Refusal, Refused


def plain_body(refusal: Refusal) -> dict[str, object]:
    """The JSON body of a refusal, unless the protocol has one of its own."""
    return {"error": refusal.message, "reason": refusal.reason}


def refusal_of(error: Exception) -> Refusal:
    """The refusal for an exception; its reason is "internal" where the request is not at fault."""
    if isinstance(error, Refused):
        return error.refusal
    if isinstance(error, RequestValidationError):
        return _not_a_body(error) or invalid([(e["loc"][1:], e) for e in error.errors()])
    if isinstance(error, HTTPException):
        return _http(error)
    if isinstance(error, RayActorError):
        # Of Ray Serve's proxy on another machine: what a replica dies with is a refusal already.
        said = "the machine that took the request cannot be reached, so it was not read to its end; send it again"
        return Refusal(503, "proxy_lost", said, retry_after=1)
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
    if isinstance(cause, Refused):
        return cause.refusal
    if isinstance(cause, RecursionError):
        return Refusal(400, "invalid", "the body is nested too deeply; send it flat")
    if isinstance(cause, UnicodeDecodeError):
        return Refusal(400, "invalid", f"the body is not UTF-8: byte {cause.start}; encode it anew")
    # Python's way to say that an integer has thousands of digits.
    if isinstance(cause, ValueError):
        return Refusal(400, "invalid", "the body holds a number of too many digits")
    return Refusal(400, "invalid", "the body cannot be read; send JSON")


def _not_a_body(error: RequestValidationError) -> Refusal | None:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        where = first["loc"][-1]
        return Refusal(400, "invalid", f"the body is not JSON: {first['ctx']['error']} at character {where}")
    if isinstance(error.body, bytes):
        return Refusal(415, "not_json", "send the body as JSON, with the header Content-Type: application/json")
    if error.body is None and first["loc"] == ("body",):
        return Refusal(422, "invalid", "the body is empty; send JSON")
    return None
