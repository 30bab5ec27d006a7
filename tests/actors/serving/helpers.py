"""The service in one process: a real model actor, without Ray."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from actors.layout import EncoderSpec
from actors.serving.replica import Replica
from actors.serving.requests import ModelCard, Refusal, Refused, Reply, Request


class InProcess:
    """Brings requests to the one replica of this process."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica

    async def ask(self, request: Request) -> Reply:
        reply = await self.replica.ask(request)
        if isinstance(reply, Refusal):
            raise Refused(reply)
        return reply

    async def card(self) -> ModelCard:
        return self.replica.card

    async def spec(self) -> EncoderSpec:
        return self.replica.actor.engine.spec

    async def ready(self) -> None:
        await self.ask(Request(id="ready", task="embed", texts=("ready",)))


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serves an application on a free port of this machine, in a thread; gives its URL without a slash at the end."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        # Connections that come before the server accepts them wait in the socket's backlog.
        listening.listen()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
