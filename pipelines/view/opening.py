"""Opens outputs and serves their page: what `spanmill view` does once its options are read."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from pipelines.config.view import ViewConfig
from pipelines.view.catalog import Say, open_catalog
from pipelines.view.job_output import JobOutput, open_output
from pipelines.view.server.app import build_view
from pipelines.view.server.serving import address, bind, serve


@dataclass(frozen=True)
class Page:
    """The page of opened outputs, not yet served."""

    app: FastAPI
    listening: socket.socket
    stop_queries: Callable[[], None]

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return address(self.listening)

    def serve(self, ready: Callable[[], None]) -> None:
        """Serves until Ctrl-C or SIGTERM; `ready` is called once requests are answered."""
        serve(self.app, self.listening, self.stop_queries, ready)


def outputs_of(output: str, other: str | None, config: ViewConfig) -> Sequence[JobOutput]:
    """The one or two outputs.

    Raises:
        ManifestError: a folder holds no job.
        ConfigError: its parts cannot be shown.
        StorageError: it cannot be read.
    """
    found = [open_output(output, config.output.storage, config.corpus.storage)]
    if other is not None:
        storage = config.output.storage if config.other.storage is None else config.other.storage
        found.append(open_output(other, storage, config.corpus.storage))
    return found


@contextmanager
def open_page(
    outputs: Sequence[JobOutput],
    host: str,
    port: int | None,
    keys: tuple[bytes, ...],
    say: Say,
    any_host: bool = False,
) -> Iterator[Page]:
    """The page over one output, or over two that are compared; it listens, and what was read is gone at the end.

    Args:
        keys: of who may ask; empty lets anybody ask who reaches `host`.
        any_host: lets requests name any host, where others than this machine may ask.

    Raises:
        ConfigError: the port is taken, or the outputs have nothing that can be compared.
        StorageError: an output cannot be read.
    """
    listening = bind(host, port)
    try:
        with open_catalog(outputs, say) as catalog:
            # A page that came in by a name of its own has no key.
            app, asker = build_view(catalog, keys, None if keys or any_host else (host,))
            yield Page(app, listening, asker.stop)
    finally:
        listening.close()
