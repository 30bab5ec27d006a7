"""API keys: requests without a known one are refused."""

import hmac
import os
import re
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.serving.gateway.page.routes import asks_for_page
from actors.serving.gateway.protocols.base import ErrorResponses
from actors.serving.parameters import KEYS_VARIABLE, KeyParameters
from actors.serving.types import Refusal

OPEN = re.compile(r"/(live|ready|health|ping|v2/health/.*|v2/models/.+/ready|docs|docs/.*|openapi\.json|page/.*)")
"""Paths that need no key to GET them: probes, and the pages for browsers, which hold nothing but the package's own."""

MISSING = "this service wants an API key; send it as Authorization: Bearer KEY"
NO_KEYS = (
    f"there are no API keys; set {KEYS_VARIABLE} to keys with commas between, name a file of them as keys.file, or say "
    "keys.none: true to let anybody ask"
)
_WRONG = "the API key is not known here; send another as Authorization: Bearer KEY"


class NoKeysError(Exception):
    """There are no keys, and nobody said that none are wanted; the message names the config key and what to do."""


def read_keys(parameters: KeyParameters) -> tuple[bytes, ...]:
    """The keys of the file and of the environment variable; empty where the config says that none are wanted.

    Raises:
        NoKeysError: there are none, or a source of keys holds none; the service must not be open to everybody then.
    """
    keys: list[bytes] = []
    variable = parameters.variable or (KEYS_VARIABLE if KEYS_VARIABLE in os.environ else None)
    if parameters.none:
        if variable is not None:
            raise NoKeysError(f"keys.none: lets anybody ask, and {variable} is set; unset it, or leave keys.none out")
        return ()
    if parameters.file is not None:
        keys += _some(_of_file(Path(parameters.file)), f"keys.file: {parameters.file} holds no key; write one a line")
    if variable is not None:
        state = "is empty" if variable in os.environ else "is not set"
        otherwise = f"keys.variable: {variable} {state}; set it to keys with commas between, where the service runs"
        keys += _some(os.environ.get(variable, "").split(","), otherwise)
    if not keys:
        raise NoKeysError(f"keys: {NO_KEYS}")
    return tuple(keys)


def needs_no_key(path: str, health_route: str | None) -> bool:
    """Whether anybody may GET a path: one of `OPEN`, or the further path of the probe /ready."""
    return path == health_route or OPEN.fullmatch(path) is not None


class AuthMiddleware:
    """Refuses requests that carry none of the keys."""

    def __init__(
        self,
        app: ASGIApp,
        keys: tuple[bytes, ...],
        error_responses: ErrorResponses,
        health_route: str | None = None,
    ) -> None:
        """Takes the keys, at least one, and a further path of the probe /ready."""
        self._app = app
        self._keys = keys
        self._health_route = health_route
        self._error_responses = error_responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        scheme, _, given = Headers(scope=scope).get("authorization", "").strip().partition(" ")
        if scheme.lower() == "bearer" and self._knows(given.strip()):
            await self._app(scope, receive, send)
            return
        refusal = Refusal(401, "unauthorized", _WRONG if given else MISSING)
        response = self._error_responses.response(scope, refusal)
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        # Without a key nobody sends a body.
        is_read = scope["method"] in ("GET", "HEAD")
        return is_read and (needs_no_key(path, self._health_route) or (path == "/" and asks_for_page(scope)))

    def _knows(self, given: str) -> bool:
        # Headers are Latin-1 on the wire. Every key is compared, so that the time it takes reveals nothing about them.
        return sum(hmac.compare_digest(given.encode("latin-1"), key) for key in self._keys) > 0


def _of_file(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NoKeysError(f"keys.file: {path} cannot be read: {error}; name a text file with one key a line") from error
    return [line for line in lines if not line.lstrip().startswith("#")]


def _some(lines: Iterable[str], otherwise: str) -> list[bytes]:
    keys = [line.strip().encode() for line in lines if line.strip()]
    if not keys:
        raise NoKeysError(otherwise)
    return keys
