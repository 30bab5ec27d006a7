"""Containers of an image that buildah has built, without an engine that runs them: namespaces and chroot, as root.

A container has the machine's network, process ids and mounts of its own, a root folder that nothing can write to, /tmp
and the user's cache in memory, and no rights: what `docker run --network host --read-only --tmpfs /tmp --cap-drop ALL
--security-opt no-new-privileges` gives. What is run, as whom and with which variables is what the image says.
"""

import json
import os
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from infra.build_image import Engine
from tests.waiting import until

WANTED = ("buildah", "chroot", "mount", "nsenter", "unshare")
"""Programs that this takes."""
# Who is not root and gets no new privileges has no capabilities, so the bounding set, which wants CAP_SETPCAP, stays.
_MOUNTS = """\
set -eu
root=$1 cache=$2 data=$3 user=$4
shift 4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777,size=2g shm "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o "uid=$user,gid=$user" cache "$root$cache"
mount --bind "$data" "$root/mnt"
exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs "$@"
"""
DATA = "/mnt"
"""Where a container finds its folder of data."""


@dataclass(frozen=True)
class Image:
    """An image of an engine, with its files in a folder."""

    root: Path
    config: dict[str, Any]
    """As Docker has it: `User`, `Env`, `Entrypoint`, `Healthcheck` and `Labels` among other keys."""

    @property
    def user(self) -> int:
        return int(self.config["User"])

    @property
    def variables(self) -> dict[str, str]:
        return dict(word.split("=", 1) for word in self.config["Env"])


def unpacked(engine: Engine, tag: str) -> Image:
    """Copies an image's files to a folder of the engine's storage; removing the storage removes them."""

    def said(*words: str) -> str:
        return subprocess.run(engine.words(*words), check=True, capture_output=True, text=True).stdout.strip()

    config = json.loads(said("inspect", "--type", "image", tag))["Docker"]["config"]
    return Image(Path(said("mount", said("from", "--pull-never", tag))), config)


@dataclass
class Container:
    """What an image runs with the words behind its name, and with variables of one's own."""

    image: Image
    words: tuple[str, ...]
    data: Path
    """Folder of the machine; the container's user may write to it."""
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        weakref.finalize(self, self._said.close)
        user = self.image.user
        os.chown(self.data, user, user)
        own = [str(self.image.root), f"{self._home}/.cache", str(self.data), str(user)]
        inside = [*self._env(), *self.image.config["Entrypoint"], *self.words]
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _MOUNTS, "sh", *own, *inside],
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    @property
    def _home(self) -> str:
        return str(self.image.config["WorkingDir"])

    def _env(self) -> list[str]:
        variables = {"HOME": self._home} | self.image.variables | self.env
        return ["/usr/bin/env", "-i", "-C", self._home, *(f"{name}={value}" for name, value in variables.items())]

    def wait_until(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        """Waits for the condition; the container must not end before."""

        def holds() -> bool:
            ended = self.process.poll() is not None
            found = condition()
            assert found or not ended, self.said()
            return found

        until(holds, seconds)

    def said(self) -> str:
        """Output and errors so far."""
        return Path(f"/proc/self/fd/{self._said.fileno()}").read_text(encoding="utf-8", errors="replace")

    def health(self) -> int:
        """Exit code of the image's health check, run as an engine does."""
        kind, *words = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        user = str(self.image.user)
        inside = ["nsenter", "--target", str(self._first()), "--mount", "--pid", "--root", "--wd"]
        return subprocess.run([*inside, "-S", user, "-G", user, *self._env(), *words]).returncode

    def users(self) -> set[int]:
        """Real and effective users of its processes."""
        found = set[int]()
        space = os.readlink(f"/proc/{self._first()}/ns/pid")
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns/pid") == space:
                    (line,) = [line for line in (folder / "status").read_text().splitlines() if line.startswith("Uid:")]
                    found |= set(map(int, line.split()[1:]))
            except OSError:
                continue
        return found

    def stop(self, seconds: float = 120) -> int:
        """As `docker stop`: SIGTERM to its first process; its exit code."""
        os.kill(self._first(), signal.SIGTERM)
        return self.process.wait(seconds)

    def clean_up(self) -> None:
        """Ends all of it; what its first process started ends with that."""
        self.process.kill()
        self.process.wait()

    def _first(self) -> int:
        """The process that is number 1 inside."""
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)
