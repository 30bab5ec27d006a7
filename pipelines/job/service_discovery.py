"""Where the service of this machine runs, for jobs that share it: where several clusters do, `auto` finds any."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def service_address() -> str | None:
    """HOST:PORT of the local cluster of the `spanmill serve` that this user started last here, while it runs."""
    try:
        address, pid = _read().split()
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return None
    return address


@contextmanager
def announced(address: str) -> Iterator[None]:
    """Has `service_address` find this process's cluster while the block runs, where files can be kept at all."""
    said = f"{address} {os.getpid()}"
    with suppress(OSError), os.fdopen(_open(os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
        file.write(said)
    try:
        yield
    finally:
        with suppress(OSError):
            if _read() == said:
                _path().unlink()


def _read() -> str:
    with os.fdopen(_open(os.O_RDONLY)) as file:
        # The folder is anybody's, and whoever names a cluster to a job has its rights.
        if os.fstat(file.fileno()).st_uid != os.getuid():
            raise PermissionError("another user's file")
        return file.read()


def _open(flags: int) -> int:
    return os.open(_path(), flags | os.O_NOFOLLOW, 0o600)


def _path() -> Path:
    # Where Ray keeps its own, so whoever gives clusters folders of their own keeps these apart too.
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), f"spanmill-service-{os.getuid()}")
