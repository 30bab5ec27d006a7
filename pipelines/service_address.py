"""Where the service of this machine runs, for jobs that share it: where several clusters do, `auto` finds any."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def service_address() -> str | None:
    """HOST:PORT of the local cluster of the `spanmill serve` that this user started last here, while it runs."""
    try:
        with _opened(os.O_RDONLY) as file:
            # The folder is anybody's, and whoever names a cluster to a job has its rights.
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            address, pid = file.read().split()
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return None
    return address


@contextmanager
def announced(address: str) -> Iterator[None]:
    """Has `service_address` find this process's cluster while the block runs, where files can be kept at all."""
    said = f"{address} {os.getpid()}"
    with suppress(OSError), _opened(os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
        file.write(said)
    try:
        yield
    finally:
        with suppress(OSError):
            if _path().read_text() == said:
                _path().unlink()


def _opened(flags: int) -> IO[str]:
    mode = "r" if flags == os.O_RDONLY else "w"
    return os.fdopen(os.open(_path(), flags | os.O_NOFOLLOW, 0o600), mode)


def _path() -> Path:
    # Where Ray keeps its own, so whoever gives clusters folders of their own keeps these apart too.
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), f"spanmill-service-{os.getuid()}")
