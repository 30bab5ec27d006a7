"""Requests to another host than this server's are refused, so that no web page reaches it by a name of its own.

A page from anywhere may have the browser look up its own name again, which then leads to 127.0.0.1 (DNS rebinding); the
browser takes the answers for that page's own. It still sends the page's name as Host, by which it is known here.
"""

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class HostCheckMiddleware:
    """Answers 421 to requests whose Host is neither a name of this machine to itself nor one that is known."""

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        """Takes the application, and further names that it is reached by."""
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http" or self._is_known(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
            return
        said = "this server answers to localhost and 127.0.0.1 alone; open it by the address that spanmill view prints"
        await JSONResponse({"error": said, "reason": "wrong_host"}, 421)(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        name = host_name(host)
        return name in self._names or name == "localhost" or _is_loopback(name)


def host_name(host: str) -> str:
    """The name in a Host header, in lower case, without its port and the brackets of an IPv6 address."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
