"""An S3 server that can be stopped, and started again where it was."""

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from tests.pipelines.processes import free_port
from tests.pipelines.s3_server import S3Server, serve_s3


class RestartableS3:
    """Serves a folder on one port, with pauses."""

    def __init__(self, folder: Path) -> None:
        """Starts it; buckets are the folders in `folder`."""
        self._folder = folder
        self._running = ExitStack()
        self.server: S3Server = self._running.enter_context(serve_s3(folder, free_port()))

    def stop(self) -> None:
        """Cuts every connection; later ones are refused."""
        self._running.close()

    def start(self) -> None:
        """Serves again."""
        port = urlsplit(self.server.endpoint).port
        assert port is not None
        self._running.enter_context(serve_s3(self._folder, port))
