"""API keys: requests without a known one are refused, and those with one are their tenant's."""

import hmac
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.serving.gateway.key_limits import KeyLimits, KeyUse
from actors.serving.gateway.page.routes import asks_for_page
from actors.serving.gateway.protocols.base import ErrorResponses
from actors.serving.key_parameters import KEYS_VARIABLE, KeyParameters, TenantParameters
from actors.serving.types import Refusal
from actors.tenants import DEFAULT_TENANT

OPEN = re.compile(r"/(live|ready|health|ping|v2/health/.*|v2/models/.+/ready|docs|docs/.*|openapi\.json|page/.*)")
"""Paths that need no key to GET them: probes, and the pages for browsers, which hold nothing but the package's own."""

MISSING = "this service wants an API key; send it as Authorization: Bearer KEY"
NO_KEYS = (
    f"there are no API keys; set {KEYS_VARIABLE} to keys with commas between, name a file of them as keys.file, or say "
    "keys.none: true to let anybody ask"
)
_WRONG = "the API key is not known here; send another as Authorization: Bearer KEY"


class KeysError(Exception):
    """The keys cannot be used; the message names the config key and what to do."""


class NoKeysError(KeysError):
    """There are no keys, and nobody said that none are wanted; the message names the config key and what to do."""


def read_keys(parameters: KeyParameters) -> tuple[bytes, ...]:
    """The keys of the file and of the environment variable; empty where the config says that none are wanted.

    Raises:
        NoKeysError: there are none, or a source of keys holds none; the service must not be open to everybody then.
    """
    variable = parameters.variable or (KEYS_VARIABLE if KEYS_VARIABLE in os.environ else None)
    if parameters.none:
        if variable is not None:
            raise NoKeysError(f"keys.none: lets anybody ask, and {variable} is set; unset it, or leave keys.none out")
        return ()
    keys = _named("keys", parameters.file, variable)
    if not keys:
        raise NoKeysError(f"keys: {NO_KEYS}")
    return keys


def read_tenant_keys(keys: KeyParameters, tenants: Mapping[str, TenantParameters]) -> dict[bytes, str]:
    """Every key, and the tenant that it is of. Where tenants have keys, the section `keys` need not hold any.

    Raises:
        NoKeysError: as `read_keys`, also for the keys of a tenant.
        KeysError: two tenants have a key in common.
    """
    found: dict[bytes, str] = {}
    for name, tenant in tenants.items():
        _add(found, name, _named(f"tenants.{name}", tenant.file, tenant.variable))
    is_named = keys.file is not None or keys.variable is not None
    says_nothing = not is_named and not keys.none and KEYS_VARIABLE not in os.environ
    if not (found and says_nothing):
        _add(found, DEFAULT_TENANT, read_keys(keys))
    return found


def _add(found: dict[bytes, str], tenant: str, keys: Iterable[bytes]) -> None:
    for key in keys:
        if (other := found.setdefault(key, tenant)) != tenant:
            raise KeysError(f"tenants: {other} and {tenant} have a key in common; give each its own")


def needs_no_key(path: str, health_route: str | None) -> bool:
    """Whether anybody may GET a path: one of `OPEN`, or the further path of the probe /ready."""
    return path == health_route or OPEN.fullmatch(path) is not None


def key_uses(
    keys: KeyParameters, tenants: Mapping[str, TenantParameters], gateways: int = 1
) -> dict[bytes | None, KeyUse]:
    """Every key, and what one gateway notes of its use; None stands for anybody, where no key is wanted.

    Args:
        gateways: how many there are; each allows its part of the limits of a key.

    Raises:
        KeysError: the keys cannot be used.
    """
    limits = {name: KeyLimits.of(tenant, gateways) for name, tenant in tenants.items()}
    known = read_tenant_keys(keys, tenants)
    uses: dict[bytes | None, KeyUse] = {key: KeyUse(tenant, limits.get(tenant)) for key, tenant in known.items()}
    if keys.none:
        uses[None] = KeyUse(DEFAULT_TENANT, limits.get(DEFAULT_TENANT))
    return uses


class AuthMiddleware:
    """Refuses requests that carry none of the keys, and notes whose the others are."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Mapping[bytes | None, KeyUse],
        error_responses: ErrorResponses,
        health_route: str | None = None,
    ) -> None:
        """Sets `state.key`, for `submit.ask`, and `state.tenant`, for the body limits, the log and the trace.

        Args:
            keys: of `key_uses`, at least one.
            health_route: a further path of the probe /ready.
        """
        self._app = app
        self._keys = {key: use for key, use in keys.items() if key is not None}
        self._anybody = keys.get(None)
        self._health_route = health_route
        self._error_responses = error_responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http" or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        scheme, _, given = Headers(scope=scope).get("authorization", "").strip().partition(" ")
        key = (self._known(given.strip()) if scheme.lower() == "bearer" else None) or self._anybody
        if key is not None:
            state = scope.setdefault("state", {})
            state["key"], state["tenant"] = key, key.tenant
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

    def _known(self, given: str) -> KeyUse | None:
        # Headers are Latin-1 on the wire. Every key is compared, so that the time it takes reveals nothing about them.
        shown = given.encode("latin-1")
        found = [use for key, use in self._keys.items() if hmac.compare_digest(shown, key)]
        return found[0] if found else None


def _named(place: str, file: str | None, variable: str | None) -> tuple[bytes, ...]:
    """The keys of a file and of an environment variable, which a group of config keys names."""
    keys: list[bytes] = []
    if file is not None:
        keys += _some(_of_file(place, Path(file)), f"{place}.file: {file} holds no key; write one a line")
    if variable is not None:
        state = "is empty" if variable in os.environ else "is not set"
        otherwise = f"{place}.variable: {variable} {state}; set it to keys with commas between, where the service runs"
        keys += _some(os.environ.get(variable, "").split(","), otherwise)
    return tuple(keys)


def _of_file(place: str, path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{place}.file: {path} cannot be read: {error}; name a text file with one key a line"
        raise NoKeysError(message) from error
    return [line for line in lines if not line.lstrip().startswith("#")]


def _some(lines: Iterable[str], otherwise: str) -> list[bytes]:
    keys = [line.strip().encode() for line in lines if line.strip()]
    if not keys:
        raise NoKeysError(otherwise)
    return keys
