"""The limit of size and time of request bodies."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.serving.parameters import LimitParameters
from actors.serving.protocols.base import ErrorResponses
from actors.serving.types import Refusal, Refused


class BodyLimitMiddleware:
    """Reads the whole body before the application sees it; refuses one that is too large or too slow."""

    def __init__(self, app: ASGIApp, limits: LimitParameters, error_responses: ErrorResponses) -> None:
        """Takes `max_request_bytes` and `timeout_ms` from the limits."""
        self._app = app
        self._most = limits.max_request_bytes
        self._seconds = limits.timeout_ms / 1000
        self._error_responses = error_responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            slow = Refusal(408, "slow_client", f"the body did not arrive within {self._seconds:g} s; send it faster")
            await self._refuse(slow, scope, receive, send)
        except Refused as refused:
            await self._refuse(refused.refusal, scope, receive, send)
        else:
            if body is not None:
                await self._app(scope, _whole(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        told = Headers(scope=scope).get("content-length", "0")
        if told.isdigit() and int(told) > self._most:
            raise self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._most:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Refused:
        return Refused(
            Refusal(413, "too_large", f"the body is longer than {self._most} bytes; send its inputs in parts")
        )

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._error_responses.response(scope, refusal)
        # The rest of the body is not read, so the connection cannot carry another request.
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


def _whole(body: bytes, receive: Receive) -> Receive:
    """Gives the body in one message, and the later messages of the server after it."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
