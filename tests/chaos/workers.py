"""Processes below a command, by what Ray calls them."""

import os
import signal
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.pipelines.processes import Command


@dataclass(frozen=True)
class Worker:
    """A process of a Ray cluster."""

    pid: int
    title: str
    """Its command line; Ray's workers write there what they do."""

    @property
    def is_model_actor(self) -> bool:
        """True for an actor of the job's pool."""
        return self.title.startswith("ray::MapWorker(MapBatches(ModelStage")

    @property
    def is_other_worker(self) -> bool:
        """True for a worker that runs tasks, waits for some, or is an actor of Ray Data's own.

        A node's two agents call themselves like workers, but the node ends when one of them does.
        """
        is_worker = self.title.startswith("ray::") and not self.title.endswith("Agent")
        return is_worker and not self.is_model_actor

    @property
    def is_at_work(self) -> bool:
        """True for a worker that runs one of the job's stages."""
        return self.title.startswith(("ray::MapBatches", "ray::MapWorker(MapBatches", "ray::ReadStage"))

    @property
    def is_raylet(self) -> bool:
        """True for the process that a node of Ray stands and falls with."""
        return Path(self.title.partition(" ")[0]).name == "raylet"

    def kill(self) -> bool:
        """SIGKILL; False when it was gone already."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def workers_below(pid: int) -> list[Worker]:
    """Every living descendant of a process."""
    children: dict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            children[int(fields[1])].append(int(path.parent.name))
    found, waiting = list[int](), [pid]
    while waiting:
        below = children[waiting.pop()]
        found += below
        waiting += below
    return [Worker(one, _title(one)) for one in found]


def end_all(command: Command) -> None:
    """Ends a command and everything below it, which the mark in the environment alone may miss."""
    below = workers_below(command.process.pid)
    command.clean_up()
    for worker in below:
        worker.kill()


def _title(pid: int) -> str:
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return data.replace(b"\0", b" ").decode(errors="replace").strip()
