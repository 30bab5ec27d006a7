"""Nodes of this machine for tests: `spanmill node` joins a cluster whose head runs already."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.clusters import SETTINGS, Cluster, cluster
from tests.chaos.workers import end_all
from tests.pipelines.processes import Command

_ROOT = Path(__file__).parents[2]
_WORDS = ("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=134217728")


@dataclass
class Nodes:
    """A head, and nodes that come and go."""

    head: Cluster
    folder: Path
    started: list[Command] = field(default_factory=list)
    """Nodes and jobs."""

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self.head.address

    def join(self, cpus: int = 2, seconds: float = 100.0, env: Mapping[str, str] | None = None) -> Command:
        """Starts a node, and returns when the cluster has it."""
        before = self.ids()
        words = ("spanmill", "node", f"--address={self.address}", f"--seconds={seconds}", f"--num-cpus={cpus}", *_WORDS)
        command = Command(words, self.folder, {**SETTINGS, **settings(), **(env or {})})
        self.started.append(command)
        command.wait_until(lambda: len(self.ids() - before) > 0)
        return command

    def leave(self) -> None:
        """Ends the nodes that have joined, and all jobs; returns when the cluster has noticed."""
        for command in reversed(self.started):
            end_all(command)
        self.started.clear()
        self.head.head.wait_until(lambda: len(self.ids()) == 1)

    def ids(self) -> set[str]:
        """Ids of the nodes that live."""
        # In a process of its own: whether it sends the cluster's token, Ray decides when it is first used in one.
        code = (
            "import sys\n"
            "from ray._raylet import GcsClient\n"
            "from pipelines.job.nodes.drain import living\n"
            "print(*(node.id for node in living(GcsClient(address=sys.argv[1]))))\n"
        )
        env = {**os.environ, **SETTINGS, **settings()}
        words = (sys.executable, "-c", code, self.address)
        return set(subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.split())

    def job(self, *words: str) -> Command:
        """Starts the installed command on this cluster."""
        command = Command(("spanmill", *words), self.folder, {**SETTINGS, **settings(), "RAY_ADDRESS": self.address})
        self.started.append(command)
        return command


def settings() -> dict[str, str]:
    """With which workers import modules of the tests, and a node may take long to join on a busy machine."""
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "RAY_raylet_start_wait_time_s": "180"}


@contextmanager
def nodes(folder: Path, cpus: int) -> Iterator[Nodes]:
    """A cluster until the block ends. Ray's sockets lie in `folder`, whose path must be short.

    The environment must have `settings()` and `SETTINGS` when it is entered: the head is started with it.
    """
    work = folder.with_name(f"{folder.name}-work")
    work.mkdir()
    with cluster(folder, cpus) as head:
        made = Nodes(head, work)
        try:
            yield made
        finally:
            for command in reversed(made.started):
                end_all(command)


def with_other_version(folder: Path, package: str, version: str) -> str:
    """A PYTHONPATH with which a process takes another version of a package to be installed."""
    told = folder / f"{package}-{version}.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return os.pathsep.join([str(folder), settings()["PYTHONPATH"]])
