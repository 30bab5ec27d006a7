"""The limits of size and time of request bodies, one by one and together."""

import asyncio
from collections import Counter

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.serving.gateway.protocols.base import ErrorResponses
from actors.serving.parameters import LimitParameters
from actors.serving.types import Refusal, Refused
from actors.tenants import NO_TENANT, TenantWeights

_NO_BODY = 1024
"""Most bytes of a body where the method has none; anybody may send one to a probe."""


class BodyLimitMiddleware:
    """Reads the whole body before the application sees it; refuses one that is too large, too slow or compressed.

    The bytes of all bodies in hand are counted, from their arrival to the end of their responses, and one that would be
    too much is refused: a gateway's memory is bounded by a number of bytes, not of requests.
    """

    def __init__(
        self, app: ASGIApp, limits: LimitParameters, error_responses: ErrorResponses, weights: TenantWeights
    ) -> None:
        """Takes `max_request_bytes`, `max_bytes_in_flight` and `timeout_ms` from the limits.

        Args:
            weights: of the tenants, between which the bytes in flight are divided.
        """
        self._app = app
        self._most = limits.max_request_bytes
        self._most_together = limits.max_bytes_in_flight
        self._weights = weights
        self._together: Counter[str] = Counter()
        self._seconds = limits.timeout_ms / 1000
        self._error_responses = error_responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope.get("state", {}).get("tenant", NO_TENANT))
        try:
            await self._handle(body, scope, receive, send)
        finally:
            self._together[body.tenant] -= body.size

    async def _handle(self, body: "_Body", scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                is_whole = await self._read(body, scope, receive)
        except TimeoutError:
            slow = Refusal(408, "slow_client", f"the body did not arrive within {self._seconds:g} s; send it faster")
            await self._refuse(slow, scope, receive, send)
        except Refused as refused:
            await self._refuse(refused.refusal, scope, receive, send)
        else:
            if is_whole:
                await self._app(scope, body.given_whole(receive), send)

    async def _read(self, body: "_Body", scope: Scope, receive: Receive) -> bool:
        """Reads to the end of the body; False where the client hung up before."""
        headers = Headers(scope=scope)
        told = headers.get("content-length", "0")
        if scope["method"] == "POST":
            most = self._most
            _check_encoding(headers.get("content-encoding", ""))
        else:
            most = min(_NO_BODY, self._most)
        self._check(body, int(told[:18]) if told.isascii() and told.isdigit() else 0, most)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            self._check(body, len(part), most)
            body.add(part)
            self._together[body.tenant] += len(part)
            if not message.get("more_body", False):
                return True

    def _check(self, body: "_Body", more: int, most: int) -> None:
        """Raises Refused where so many more bytes of a body are too many: for their request, or for the gateway."""
        if body.size + more > most:
            raise Refused(Refusal(413, "too_large", f"the body is longer than {most} bytes; send its inputs in parts"))
        if not self._weights.fits(body.tenant, more, self._together, self._most_together):
            held = self._together.total()
            raise Refused(Refusal(429, "queue_full", f"bodies of {held} bytes are in hand already; try again later"))

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._error_responses.response(scope, refusal)
        # The rest of the body is not read, so the connection cannot carry another request.
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


def _check_encoding(told: str) -> None:
    """Raises Refused for a compressed body: a small one may have room for more than all limits allow."""
    if told.strip().lower() not in ("", "identity"):
        message = f"the body's Content-Encoding is {told[:40]!r}, and bodies are taken uncompressed; send it so"
        raise Refused(Refusal(415, "compressed", message))


class _Body:
    """A body as it arrives, of a request of a tenant."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.size = 0
        self._parts: list[bytes] = []

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self.size += len(part)

    def given_whole(self, receive: Receive) -> Receive:
        """Gives the body in one message, and the later messages of the server after it."""
        whole: bytes | None = b"".join(self._parts)
        self._parts.clear()

        async def once() -> Message:
            nonlocal whole
            if whole is None:
                return await receive()
            message, whole = {"type": "http.request", "body": whole, "more_body": False}, None
            return message

        return once
