"""The installed command as a process of its own, and what it leaves behind."""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

BIN = Path(sys.executable).parent
_MARK = "SPANMILL_TEST_MARK"


@dataclass
class Command:
    """A running command in a process group of its own, as a shell would start it."""

    words: tuple[str, ...]
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        # Files, not pipes: a pipe that nobody empties while the command runs would hold the command up.
        self._out, self._err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        for file in (self._out, self._err):
            weakref.finalize(self, file.close)
        self._said = ("", "")
        env = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | self.env
        self.process = subprocess.Popen(
            [str(BIN / self.words[0]), *self.words[1:]],
            cwd=self.folder,
            env={**env, _MARK: self.mark},
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
            # Ctrl-C is ignored by what a background job of a shell starts, and tests may run in one.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def wait_until(self, condition: Callable[[], bool], seconds: float = 240) -> None:
        """Waits for the condition; the command must not end before."""
        deadline = time.monotonic() + seconds
        while True:
            # In this order: it may end just after it has done what is waited for.
            ended = self.process.poll() is not None
            if condition():
                return
            assert not ended, self.said()
            assert time.monotonic() < deadline, "nothing happened in time"
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """To the whole group, as a terminal sends it."""
        os.killpg(self.process.pid, number)

    def end(self, seconds: float = 300) -> tuple[int, str, str]:
        """Exit code, output and errors of the command when it has ended."""
        return self.process.wait(seconds), *self.said()

    def said(self) -> tuple[str, str]:
        """Output and errors so far."""
        if not self._out.closed:
            self._said = _read(self._out), _read(self._err)
        return self._said

    def left_behind(self) -> list[int]:
        """Processes that the command or its children started and that still run, whosever children they are now."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"{_MARK}={self.mark}".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def clean_up(self) -> None:
        """Ends the command and everything that it left behind."""
        for pid in self.left_behind():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.said()
        self._out.close()
        self._err.close()


def _read(file: IO[str]) -> str:
    # A second handle: the command's writes go to where its own, shared with ours, stands.
    with open(f"/proc/self/fd/{file.fileno()}", encoding="utf-8", errors="replace") as again:
        return again.read()


def stopped(command: Command, number: signal.Signals, once_it_says: str) -> tuple[int, str]:
    """Exit code and errors of a command that gets a signal once its errors say something; nothing of it may be left."""
    try:
        command.wait_until(lambda: once_it_says in command.said()[1])
        command.signal(number)
        code, _, said = command.end()
        assert is_gone(command)
    finally:
        command.clean_up()
    return code, said


def is_gone(command: Command, seconds: float = 60) -> bool:
    """True once nothing of a command is left: what Ray ends with a cluster ends a moment after the command."""
    deadline = time.monotonic() + seconds
    while command.left_behind():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to nobody who has not asked for it by its number.

    What binds it does so some seconds later, and between a bind to port 0 and that the system could give the same port
    to one of the many connections that Ray makes.
    """
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    # Ray's workers take ports from 10002 to 19999.
    others = [*range(20_000, min(lowest, 32_768)), *range(highest + 1, 65_536)]
    while True:
        with socket.socket() as found:
            port: int = random.SystemRandom().choice(others)
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def deaf_address() -> Iterator[str]:
    """HOST:PORT at which connections are refused while the block runs: the port is taken, and nobody listens."""
    with socket.socket() as deaf:
        # At all addresses of the machine: Ray calls it by another one, where another test might listen.
        deaf.bind(("0.0.0.0", 0))
        yield f"127.0.0.1:{deaf.getsockname()[1]}"
