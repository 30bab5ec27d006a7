"""API keys: requests without a known one are refused."""

import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.serving.parameters import KeyParameters
from actors.serving.protocols.base import ErrorResponses
from actors.serving.types import Refusal

OPEN = ("/live", "/ready", "/health", "/v2/health/")
"""Paths of probes, which need no key to GET them; one that ends with a slash stands for all paths below it."""

MISSING = "this service wants an API key; send it as Authorization: Bearer KEY"
_WRONG = "the API key is not known here; send another as Authorization: Bearer KEY"


class NoKeys(Exception):
    """The config names a source of keys that holds none; the message names the config key and what to do."""


def read_keys(parameters: KeyParameters) -> tuple[bytes, ...]:
    """The keys of the file and of the environment variable; empty where the config names neither.

    Raises:
        NoKeys: the config names a source that holds no key; the service must not be open to everybody then.
    """
    keys: list[bytes] = []
    if parameters.file is not None:
        keys += _some(_of_file(Path(parameters.file)), f"keys.file: {parameters.file} holds no key; write one a line")
    if parameters.variable is not None:
        values = os.environ.get(parameters.variable, "").split(",")
        keys += _some(values, f"keys.variable: {parameters.variable} is not set; set it to keys with commas between")
    return tuple(keys)


class AuthMiddleware:
    """Refuses requests that carry none of the keys."""

    def __init__(self, app: ASGIApp, keys: tuple[bytes, ...], error_responses: ErrorResponses) -> None:
        """Takes the keys, at least one."""
        self._app = app
        self._keys = keys
        self._error_responses = error_responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http" or _is_open(scope):
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

    def _knows(self, given: str) -> bool:
        # Headers are Latin-1 on the wire. Every key is compared, so that the time it takes reveals nothing about them.
        return sum(hmac.compare_digest(given.encode("latin-1"), key) for key in self._keys) > 0


def _is_open(scope: Scope) -> bool:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    # Without a key nobody sends a body.
    is_read = scope["method"] in ("GET", "HEAD")
    return is_read and any(path.startswith(one) if one.endswith("/") else path == one for one in OPEN)


def _of_file(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NoKeys(f"keys.file: {path} cannot be read: {error}; name a text file with one key a line") from error
    return [line for line in lines if not line.startswith("#")]


def _some(lines: Iterable[str], otherwise: str) -> list[bytes]:
    keys = [line.strip().encode() for line in lines if line.strip()]
    if not keys:
        raise NoKeys(otherwise)
    return keys
