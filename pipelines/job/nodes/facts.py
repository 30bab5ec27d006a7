"""What a node of the cluster tells of itself: versions, clock, room on its disks, and what it can reach from there."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from actors.daemon_thread import in_daemon_thread
from actors.errors import first_line
from actors.version import versions_of
from pipelines.errors import SpanmillError
from pipelines.storage.filesystem import Store
from pipelines.storage.url import redact

_LOOK_SECONDS = 30.0
"""Longest that stores are waited for, all at once: a firewall that swallows packets gives no answer for minutes."""
_TRIES = 2
"""Looks at a store: a node must not be refused for one packet that was lost."""
_PAUSE_SECONDS = 3.0
"""Between them: a store that is restarted or busy does not answer for seconds."""


@dataclass(frozen=True)
class WantedFile:
    """A file that every node has to be able to read."""

    what: str
    """For people: OUTPUT, INPUT."""
    store: Store
    path: str
    """Of the store's filesystem."""


@dataclass(frozen=True)
class Questions:
    """What a node is asked."""

    packages: tuple[str, ...]
    """Distributions whose versions are wanted."""
    model_folder: str | None = None
    """Absolute path of a model that is a local folder of the driver; None where every node finds it by its name."""
    files: tuple[WantedFile, ...] = ()


@dataclass(frozen=True)
class Disk:
    """Room on a disk."""

    folder: str
    """That lies on it."""
    free: int
    """Bytes."""
    total: int


@dataclass(frozen=True)
class NodeFacts:
    """What a node answered."""

    host: str
    """Its name."""
    clock: float
    """Its time, seconds of the epoch."""
    versions: Mapping[str, str]
    """Of the packages that it was asked for and has."""
    disks: tuple[Disk, ...] = ()
    """Those of its temporary folders."""
    unreachable: Mapping[str, str] = field(default_factory=dict)
    """What it cannot read, and why, for people."""


def look(questions: Questions, folders: tuple[str, ...]) -> NodeFacts:
    """Answers for the machine that calls it; takes half a minute where a store does not answer.

    Args:
        folders: that must have room, beside the one for temporary files. Those that are not there do not count.
    """
    clock = time.time()
    return NodeFacts(
        host=socket.gethostname(),
        clock=clock,
        versions=versions_of(questions.packages),
        disks=tuple(_disks((*folders, tempfile.gettempdir()))),
        unreachable=dict(_unreachable(questions)),
    )


def _disks(folders: tuple[str, ...]) -> Iterator[Disk]:
    seen = set()
    for folder in folders:
        try:
            disk, device = os.statvfs(folder), os.stat(folder).st_dev
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            yield Disk(folder, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)


def _unreachable(questions: Questions) -> Iterator[tuple[str, str]]:
    folder = questions.model_folder
    if folder is not None and not Path(folder).is_dir():
        yield f"the model {folder}", "there is no such folder"
    ends = time.monotonic() + _LOOK_SECONDS
    for wanted, future in [(wanted, in_daemon_thread(partial(_why_not, wanted))) for wanted in questions.files]:
        is_done = bool(wait((future,), max(ends - time.monotonic(), 0.0)).done)
        why = future.result() if is_done else f"no answer within {_LOOK_SECONDS:g} s"
        if why is not None:
            yield f"{wanted.what} {wanted.store.url}", redact(why)


def _why_not(wanted: WantedFile) -> str | None:
    """Why a file cannot be read; None where it can."""
    why = None
    for turn in range(_TRIES):
        if turn:
            time.sleep(_PAUSE_SECONDS)
        try:
            # Not `exists`, which answers False to whatever goes wrong, nor the many tries of a job's own calls.
            wanted.store.fs.info(wanted.path)
        except FileNotFoundError:
            return f"{Path(wanted.path).name} is not there"
        except SpanmillError as error:
            return str(error)
        except Exception as error:  # each store's package raises its own kinds
            why = f"{type(error).__name__}: {first_line(error)}"
        else:
            return None
    return why
