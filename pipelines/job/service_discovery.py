"""The address of this machine's service, for jobs that share it: among several clusters, Ray's `auto` picks any."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def service_address() -> str | None:
    """HOST:PORT of the local cluster of the `spanmill serve` that this user started last here; None if it has ended."""
    try:
        address, pid = _read().split()
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return None
    return address


@contextmanager
def announced(address: str) -> Iterator[None]:
    """Makes `service_address` return this address while the block runs, unless the address file cannot be written."""
    content = f"{address} {os.getpid()}"
    with suppress(OSError), os.fdopen(_open(os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
        file.write(content)
    try:
        yield
    finally:
        with suppress(OSError):
            if _read() == content:
                _path().unlink()


def _read() -> str:
    with os.fdopen(_open(os.O_RDONLY)) as file:
        # Other users can write to this folder too, and the cluster that a job connects to gets the job's rights.
        if os.fstat(file.fileno()).st_uid != os.getuid():
            raise PermissionError("another user's file")
        return file.read()


def _open(flags: int) -> int:
    return os.open(_path(), flags | os.O_NOFOLLOW, 0o600)


def _path() -> Path:
    # Beside Ray's own files, so that clusters with different RAY_TMPDIR have different address files too.
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), f"spanmill-service-{os.getuid()}")
