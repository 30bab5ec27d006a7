"""Serves the page in the process of the command, until Ctrl-C or SIGTERM."""

import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from pipelines.errors import ConfigError

USUAL_PORT = 8010
"""Taken where no port is named and nobody else has it, so that links stay good; else any free one is."""


def bind(host: str, port: int | None) -> socket.socket:
    """A socket that listens to nobody yet.

    Raises:
        ConfigError: the port is taken, or the host is no address of this machine.
    """
    for number in (USUAL_PORT, 0) if port is None else (port,):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, number))
        except OSError as error:
            found.close()
            failure = error
            continue
        return found
    raise ConfigError(
        f"cannot listen on {host} port {port if port is not None else 'of any number'}: {failure.strerror or failure}; "
        "name another with --port or --host"
    )


def address(listening: socket.socket) -> str:
    """The URL of what listens there."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def serve(app: FastAPI, listening: socket.socket, stop: Callable[[], None], ready: Callable[[], None]) -> None:
    """Serves until Ctrl-C or SIGTERM; both end it in the same way, and what is in hand is broken off.

    Args:
        stop: breaks off the queries that run.
        ready: is called once requests are answered.
    """
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="none", lifespan="off", timeout_graceful_shutdown=2
    )
    server = _Server(config, stop, ready)
    listening.listen()
    # uvicorn passes the signal on when it has ended.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, stop: Callable[[], None], ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop, self._ready = stop, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop()
        await super().shutdown(sockets)
