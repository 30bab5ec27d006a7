"""Cancels requests whose client has disconnected."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class DisconnectMiddleware:
    """Cancels a request whose client has gone, so that it leaves the queue of the model actor."""

    def __init__(self, app: ASGIApp) -> None:
        """Needs `BodyLimitMiddleware` around it, which gives the whole body in one message."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = False

        async def note(message: Message) -> None:
            nonlocal answered
            # Servers send http.disconnect also once they have the whole response.
            answered = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        body = await receive()
        leaving = asyncio.create_task(_gone(receive))
        answering = asyncio.create_task(_run(self._app, scope, _then(body, leaving), note))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            gone = leaving.done() and not answered
            if gone:
                answering.cancel()
            await asyncio.wait((answering,))
        finally:
            leaving.cancel()
            answering.cancel()
        if not (gone and answering.cancelled()):
            answering.result()


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


async def _gone(receive: Receive) -> Message:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message


def _then(body: Message, leaving: asyncio.Task[Message]) -> Receive:
    messages = [body]

    async def receive() -> Message:
        return messages.pop() if messages else await asyncio.shield(leaving)

    return receive
