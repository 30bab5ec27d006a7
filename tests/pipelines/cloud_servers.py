"""Servers that speak Azure's and Google's protocols, on loopback ports: azurite (npm) and gcp-storage-emulator."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec

from tests.pipelines.processes import BIN, free_port

_AZURITE = Path(__file__).parents[2] / "build" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
# Azurite's own account: the name and the key stand in its documentation and open nothing else.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class CloudServer:
    """A running server."""

    url: str
    """Of a container or bucket, which is there and empty."""

    options: dict[str, Any]
    """fsspec options that reach it."""

    env: dict[str, str] = field(default_factory=dict)
    """What a command needs in its environment."""


@contextmanager
def serve_azure() -> Iterator[CloudServer]:
    """Azure Blob Storage. Raises FileNotFoundError, which says what to install."""
    program = _AZURITE if _AZURITE.exists() else shutil.which("azurite-blob")
    if program is None:
        raise FileNotFoundError("azurite is missing: npm install --prefix build/azurite azurite")
    port = free_port()
    words = ("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent")
    with _running((str(program), *words, "--blobHost", "127.0.0.1", "--blobPort", str(port)), port):
        blobs = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        login = f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={blobs};"
        options = {"connection_string": login}
        fsspec.filesystem("abfs", **options).mkdir("bucket")
        yield CloudServer("abfs://bucket", options)


@contextmanager
def serve_google() -> Iterator[CloudServer]:
    """Google Cloud Storage. Raises FileNotFoundError, which says what to install."""
    program = BIN / "gcp-storage-emulator"
    if not program.exists():
        raise FileNotFoundError("gcp-storage-emulator is missing: pip install gcp-storage-emulator")
    port = free_port()
    words = ("start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "bucket")
    with _running((str(program), *words), port):
        options = {"token": "anon", "project": "test", "endpoint_url": f"http://127.0.0.1:{port}"}
        # Else gcsfs first asks, by gRPC at the same port, of which kind the bucket is, and waits for the answer.
        yield CloudServer("gs://bucket", options, {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"})


@contextmanager
def _running(words: tuple[str, ...], port: int) -> Iterator[None]:
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(process, port)
            yield
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{process.args!r} does not listen on {port}")
