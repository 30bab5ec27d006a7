"""Ray clusters of one or two nodes on this machine, ended by the ids of their processes."""

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.workers import Worker, end_all, workers_below
from tests.pipelines.processes import BIN, Command, free_port

# With a token of its own: whether `ray start` asks for one otherwise hangs on what this machine did before.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": uuid.uuid4().hex,
}

# A node is dead after five looks that fail, fifteen seconds in all, in which nothing happens that we want to see. Not
# where no node is killed: on a busy machine one that lives may not answer for so long.
_DEAD_SOON = {"RAY_health_check_period_ms": "1000"}

# Ports that the system picks: two nodes of one machine would take the same ones.
_WORDS = ("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=134217728", "--block")


@dataclass
class Cluster:
    """A running head node, and a second node that comes and goes."""

    address: str
    folder: Path
    head: Command
    cpus: int
    second_cpus: int
    seconds: list[Command] = field(default_factory=list)
    """Second nodes so far; only the last one may still run."""

    def add_second(self) -> None:
        """Starts the second node; it has joined a little later."""
        words = ("ray", "start", f"--address={self.address}", f"--num-cpus={self.second_cpus}", *_WORDS)
        self.seconds.append(Command(words, self.folder, SETTINGS | _DEAD_SOON))

    def wait_for_second(self, seconds: float = 240) -> None:
        """Returns when the cluster has the second node's CPUs too. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        env = {**os.environ, **SETTINGS}
        while time.monotonic() < deadline:
            words = (str(BIN / "ray"), "status", f"--address={self.address}")
            said = subprocess.run(words, env=env, capture_output=True, text=True).stdout
            if f"/{self.cpus + self.second_cpus:.1f} CPU" in said:
                return
        raise TimeoutError(f"the second node has not joined:\n{said}")

    def workers(self) -> list[Worker]:
        """Processes of the head node."""
        return workers_below(self.head.process.pid)

    def second_workers(self) -> list[Worker]:
        """Processes of the second node."""
        return workers_below(self.seconds[-1].process.pid) if self.seconds else []


@contextmanager
def cluster(folder: Path, cpus: int, second_cpus: int = 0, dashboard: int | None = None) -> Iterator[Cluster]:
    """A cluster of one node until the block ends. Ray's sockets lie in `folder`, whose path must be short.

    Args:
        dashboard: port of its dashboard; None starts none.
    """
    folder.mkdir()
    port = free_port()
    words = ("ray", "start", "--head", f"--num-cpus={cpus}", f"--port={port}", f"--temp-dir={folder}")
    # Else 10001, whoever has it; a node ends with any of its processes.
    client = f"--ray-client-server-port={free_port()}"
    shown = ("--include-dashboard=false",) if dashboard is None else (f"--dashboard-port={dashboard}",)
    head = Command((*words, client, *shown, *_WORDS), folder, SETTINGS | (_DEAD_SOON if second_cpus else {}))
    made = Cluster(f"127.0.0.1:{port}", folder, head, cpus, second_cpus)
    try:
        head.wait_until(lambda: (folder / "ray_current_cluster").exists() and _listens(port))
        yield made
    finally:
        for command in (*made.seconds, head):
            end_all(command)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
