"""The service in one process: a real model actor, without Ray."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from actors.serving.replica.replica import Replica
from actors.serving.types import ModelCard, Refusal, Refused, Reply, Request
from actors.tokenization.encoder_spec import EncoderSpec

NAME = "minilm-qa"
"""The model that ships."""
LOVELACE = "Ada Lovelace was born in London in 1815. She wrote the first program for a machine."
WHERE = "Where was Ada Lovelace born?"


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

    async def metrics(self) -> str:
        return f"spanmill_inside {self.replica.in_hand}\n"

    async def ready(self) -> None:
        await self.ask(Request(id="ready", task="embed", texts=("ready",)))


class Failing(InProcess):
    """Fails at every request, in one way."""

    def __init__(self, replica: Replica, error: Exception) -> None:
        super().__init__(replica)
        self.error = error

    async def ask(self, request: Request) -> Reply:
        raise self.error


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serves an application on a free port of this machine, in a thread; gives its URL without a slash at the end."""
    # After five seconds, uvicorn's own, it could close a connection just when a client uses it again.
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_keep_alive=3600)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        # Connections that come before the server accepts them wait in the socket's backlog.
        listening.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A bare connection to a server, for clients that misbehave."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        yield connection
