"""Where the service of this machine runs, for jobs that share it: where several clusters do, `auto` finds any."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def service_address() -> str | None:
    """HOST:PORT of the local cluster of the `spanmill serve` that was started last here, while it runs."""
    try:
        address, pid = _path().read_text().split()
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return None
    return address


@contextmanager
def announced(address: str) -> Iterator[None]:
    """Has `service_address` find this process's cluster while the block runs, where files can be kept at all."""
    said = f"{address} {os.getpid()}"
    with suppress(OSError):
        _path().write_text(said)
    try:
        yield
    finally:
        with suppress(OSError):
            if _path().read_text() == said:
                _path().unlink()


def _path() -> Path:
    # Where Ray keeps its own, so whoever gives clusters folders of their own keeps these apart too.
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), f"spanmill-service-{os.getuid()}")
