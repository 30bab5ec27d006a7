"""`spanmill serve` in a process of its own, as a user starts it, and what Linux tells of its processes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.serving.deployments import APPLICATION, GATEWAY, MODEL
from benchmarks.processes import kind, memory_mb, tree

SPANMILL = str(Path(sys.executable).parent / "spanmill")
REPLICA = f"ServeReplica:{APPLICATION}:{MODEL}"
PROXY = "ProxyActor"
GATEWAY_REPLICA = f"ServeReplica:{APPLICATION}:{GATEWAY}"
_START_SECONDS, _STOP_SECONDS, _PROBE_SECONDS = 180.0, 90.0, 30.0
_ONE_SHOT = 0.05


@dataclass(frozen=True)
class Service:
    """A service that runs."""

    url: str
    pid: int

    def is_ready(self) -> bool:
        """Whether a forward pass succeeds now."""
        try:
            with urllib.request.urlopen(self.url + "/ready", timeout=_PROBE_SECONDS) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, seconds: float = _START_SECONDS) -> float:
        """Seconds until it was ready.

        Raises:
            TimeoutError: it was not, in time.
        """
        started = time.monotonic()
        while not self.is_ready():
            if time.monotonic() - started > seconds:
                raise TimeoutError(f"{self.url} was not ready within {seconds:g} s")
            time.sleep(_ONE_SHOT)
        return time.monotonic() - started

    def pids(self, title: str) -> list[int]:
        """Processes whose title begins so: REPLICA, GATEWAY_REPLICA."""
        found = []
        for pid in tree(self.pid):
            try:
                if kind(pid).startswith(title):
                    found.append(pid)
            except (OSError, IndexError):  # it has ended
                continue
        return found

    def memory_mb(self, title: str) -> tuple[float, float]:
        """Resident and proportional set sizes of such processes, added up."""
        each = [memory_mb(pid) for pid in self.pids(title)]
        return sum(rss for rss, _ in each), sum(pss for _, pss in each)


@contextmanager
def serving(folder: Path, words: Sequence[str]) -> Iterator[Service]:
    """A service that is ready; what it says goes into files of the folder.

    Args:
        words: KEY=VALUE of its config.

    Raises:
        RuntimeError: it ended instead.
    """
    port = free_port()
    command = [SPANMILL, "serve", "--port", str(port), *(word for key in words for word in ("--set", key))]
    with (folder / "serve.out").open("ab") as out, (folder / "serve.err").open("ab") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)
    service = Service(f"http://127.0.0.1:{port}", process.pid)
    try:
        _wait_started(service, process, folder / "serve.err")
        yield service
    finally:
        _stop(process)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_started(service: Service, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not service.is_ready():
        if process.poll() is not None:
            raise RuntimeError(f"spanmill serve ended: {said.read_text()[-2000:]}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"spanmill serve is not ready: {said.read_text()[-2000:]}")
        time.sleep(_ONE_SHOT)


def _stop(process: subprocess.Popen[bytes]) -> None:
    left = list(tree(process.pid))
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in left:
            _kill(pid)
        process.wait()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
