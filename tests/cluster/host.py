"""A host of the tests: a network namespace with an address, and processes that see files and processes of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import IO

ROOT = Path(__file__).parents[2]
ENVIRONMENT = Path(sys.prefix).resolve()
PREFIX = "spanmill-"
"""How the names of all namespaces begin, so that `down` finds whatever is left."""
STATE = Path("/run/spanmill-hosts")
HOME = "/root"
_BOOT_SECONDS = 30.0
_TMPFS = "mount -t tmpfs -o size=2g,mode=755 tmpfs"
# The root folder is an overlay of this machine's: what a host writes lies in its own memory and ends with it. The code
# and the Python environment are bound over it, read-only, because they may lie in folders that a host has of its own.
_BOOT = f"""
set -eu
mount --make-rprivate /
mkdir -p "$PLACE"
{_TMPFS} "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/root"
mount -t overlay -o "lowerdir=/,upperdir=$PLACE/upper,workdir=$PLACE/work" overlay "$PLACE/root"
cd "$PLACE/root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
for folder in tmp run dev/shm .{HOME}; do {_TMPFS} "$folder"; done
chmod 1777 tmp dev/shm
for folder in $SHARED; do
    mkdir -p ".$folder"
    mount --bind "$folder" ".$folder"
    mount -o remount,bind,ro ".$folder"
done
hostname "$NAME"
echo "$ADDRESS $NAME" >> etc/hosts
mkdir -p before
pivot_root . before
umount --lazy /before
cd /
echo up > /run/up
# The first process of a host takes in the orphans of all others.
while true; do sleep 3600 & wait; done
"""


def missing() -> str | None:
    """What this machine lacks to have hosts; None where they can be made."""
    if os.geteuid() != 0:
        return "network and mount namespaces need root"
    tools = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "redis-server": "redis-server"}
    for tool, package in tools.items():
        if which(tool) is None:
            return f"{tool} is missing: apt-get install {package}"
    made = subprocess.run(("unshare", "--mount", "--net", "--pid", "--fork", "true"), capture_output=True, text=True)
    return None if made.returncode == 0 else f"namespaces cannot be made here: {made.stderr.strip()}"


@dataclass(frozen=True)
class Running:
    """A command that runs on a host; what it says goes to a file of this machine."""

    process: subprocess.Popen[str]
    log: Path

    def said(self) -> str:
        """Its output and errors so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the command itself, not to the one that entered the host for it."""
        for child in _children(self.process.pid):
            os.kill(child, number)

    def wait_until_says(self, text: str, seconds: float = 240) -> None:
        """Returns once it has said this; it must not end before."""
        deadline = time.monotonic() + seconds
        while text not in self.said():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.said()}"
            assert time.monotonic() < deadline, f"it did not say {text!r} in {seconds:g} s:\n{self.said()}"
            time.sleep(0.05)

    def end(self, seconds: float = 600) -> tuple[int, str]:
        """Its exit code and what it said, when it has ended."""
        return self.process.wait(seconds), self.said()


@dataclass(frozen=True)
class Host:
    """A host with an address of the bridge. It is off until `boot`."""

    name: str
    address: str
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of every command."""

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return PREFIX + self.name

    @property
    def _link(self) -> str:
        """Its cable's end at the bridge."""
        return f"sm-{self.name}"

    def plug_in(self, bridge: str, gateway: str) -> None:
        """Makes the network namespace, and a cable from it to the bridge.

        Args:
            gateway: of its default route, which Ray needs to find out the host's own address.
        """
        ip("netns", "add", self.namespace)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("link", "set", self._link, "master", bridge, "up")
        inside = ("-n", self.namespace)
        ip(*inside, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip(*inside, "link", "set", "lo", "up")
        ip(*inside, "link", "set", "eth0", "up")
        ip(*inside, "route", "add", "default", "via", gateway)

    def boot(self) -> None:
        """Starts its first process, with folders that hold nothing yet, and its cable plugged in."""
        self.restore()
        STATE.mkdir(exist_ok=True)
        # A folder of the code may lie within another; the outer one is bound first.
        shared = sorted({ROOT, ENVIRONMENT, Path(sys.base_prefix).resolve()}, key=lambda path: len(path.parts))
        entered = ("nsenter", f"--net=/run/netns/{self.namespace}")
        # setsid ends at once, and leaves the host's first process to this machine's.
        subprocess.run(
            (
                "setsid",
                "--fork",
                *entered,
                "unshare",
                "--mount",
                "--pid",
                "--ipc",
                "--uts",
                "--fork",
                "bash",
                "-c",
                _BOOT,
            ),
            env={
                "PATH": os.environ["PATH"],
                "NAME": self.name,
                "ADDRESS": self.address,
                "PLACE": str(STATE / self.name),
                "SHARED": " ".join(map(str, shared)),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(log := (STATE / f"{self.name}.boot").open("w")),
            check=True,
        )
        log.close()
        deadline = time.monotonic() + _BOOT_SECONDS
        while (first := self._first()) is None or not Path(f"/proc/{first}/root/run/up").exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not start: {(STATE / f'{self.name}.boot').read_text()}")
            time.sleep(0.05)

    def run(self, *words: str, seconds: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; its output and errors are text.

        Args:
            check: whether a command that fails is an error, with what it said.
        """
        done = subprocess.run(
            self.entered(words),
            env=self._env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert not check or done.returncode == 0, f"{self.name}: {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def start(self, log: Path, *words: str, env: Mapping[str, str] | None = None) -> Running:
        """Starts a command, which writes what it says to a file of this machine."""
        file: IO[str]
        with log.open("w") as file:
            process = subprocess.Popen(
                self.entered(words),
                env=self._env() | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        # Whoever kills the host need not know of it.
        threading.Thread(target=process.wait, name=f"wait for {words[0]}", daemon=True).start()
        return Running(process, log)

    def call(self, *words: str) -> int:
        """Runs a command that reads and writes where this process does; its exit code."""
        return subprocess.run(self.entered(words), env=self._env()).returncode

    def entered(self, words: Sequence[str]) -> tuple[str, ...]:
        """The command that runs another one on this host."""
        first = self._first()
        assert first is not None, f"{self.name} is off"
        namespaces = ("--net", "--mount", "--pid", "--ipc", "--uts")
        return ("nsenter", "--target", str(first), *namespaces, f"--wdns={HOME}", *words)

    def write(self, path: str, content: bytes) -> None:
        """Writes a file of the host."""
        first = self._first()
        place = Path(f"/proc/{first}/root", path.lstrip("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def read(self, path: str) -> bytes:
        """A file of the host; empty where there is none yet."""
        place = Path(f"/proc/{self._first()}/root", path.lstrip("/"))
        return place.read_bytes() if place.exists() else b""

    def processes(self) -> list[int]:
        """Ids, as this machine counts them, of all processes of the host."""
        listed = subprocess.run(("ip", "netns", "pids", self.namespace), capture_output=True, text=True)
        return [int(pid) for pid in listed.stdout.split()]

    def kill(self) -> None:
        """Ends all of its processes at once, as where the power is cut: nobody is told, not even by TCP."""
        self.cut()
        kill_all(self.namespace)

    def cut(self) -> None:
        """Pulls its network cable: what others send is lost, and so is what it sends."""
        ip("link", "set", self._link, "down")

    def restore(self) -> None:
        """Puts the network cable back."""
        ip("link", "set", self._link, "up")

    def remove(self) -> None:
        """Ends it, and removes what `plug_in` made."""
        remove(self.namespace)

    def _env(self) -> dict[str, str]:
        search = f"{ENVIRONMENT / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": search, "HOME": HOME, "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), **self.env}

    def _first(self) -> int | None:
        return next((pid for pid in self.processes() if _is_first(pid)), None)


def names() -> list[str]:
    """Network namespaces of hosts that exist."""
    listed = subprocess.run(("ip", "-json", "netns", "list"), capture_output=True, text=True, check=True).stdout
    return [entry["name"] for entry in json.loads(listed or "[]") if entry["name"].startswith(PREFIX)]


def remove(namespace: str) -> None:
    """Ends a host by its namespace, and removes the namespace and the cable."""
    kill_all(namespace)
    ip("link", "delete", f"sm-{namespace.removeprefix(PREFIX)}", check=False)
    ip("netns", "delete", namespace, check=False)


def kill_all(namespace: str) -> None:
    """Ends every process of a network namespace, and returns when none is left."""
    deadline = time.monotonic() + _BOOT_SECONDS
    host = Host(namespace.removeprefix(PREFIX), "")
    while pids := host.processes():
        assert time.monotonic() < deadline, f"processes of {namespace} do not end: {pids}"
        # With the first process of a host all others end, and no new one can start.
        for pid in sorted(pids, key=lambda pid: not _is_first(pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def ip(*words: str, check: bool = True) -> None:
    """Runs iproute2's `ip`."""
    done = subprocess.run(("ip", *words), capture_output=True, text=True)
    if check and done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _is_first(pid: int) -> bool:
    """Whether a process is the first one of a process namespace, where it has the number 1."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    (numbers,) = (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
    return len(numbers) > 1 and numbers[-1] == "1"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
