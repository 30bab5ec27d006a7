"""A job under fire: the installed command on one output, run as often as it takes."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

from tests.chaos.watch import Watch
from tests.chaos.workers import end_all, workers_below
from tests.pipelines.processes import BIN, Command

_MOST_SECONDS = 300
_MOST_RUNS = 5
"""Runs in which nobody disturbs the job; more than one where the faults had used up the passes of a run."""
_SETTINGS = ("model.threads=1", "corpus.shard_rows=12", "corpus.unit_bytes=100_000")


class WrongEnd(Exception):
    """A command did not come to its end, or came to one that it should not."""


@dataclass
class Job:
    """One output, whatever happens to it."""

    inputs: Sequence[str]
    target: str
    """Path or URL of the output."""
    output: Path
    """Where the output lies on this machine."""
    folder: Path
    """Where the command is started."""
    model: Path
    expected: Sequence[dict[str, Any]]
    """Rows of the output in order."""
    random: Random
    settings: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Watch(self.output)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self.watch)
        return self

    def __exit__(self, *_: object) -> None:
        for command in self.commands:
            end_all(command)
        self._open.close()

    def start(self) -> Command:
        """Starts the command once more."""
        words = [word for setting in (*_SETTINGS, *self.settings) for word in ("--set", setting)]
        spanmill = ("spanmill", "answer", *self.inputs, self.target, "--model", str(self.model), *words)
        self.commands.append(Command(spanmill, self.folder, dict(self.env)))
        return self.commands[-1]

    def wait_for_commit(self, command: Command, most: float = 1.5) -> bool:
        """Waits for one more commit than there is now, and then for a random time of at most so many seconds.

        Returns:
            False when the command has ended before.

        Raises:
            WrongEnd: neither happens.
        """
        before, deadline = len(self.watch), time.monotonic() + _MOST_SECONDS
        while len(self.watch) == before and command.process.poll() is None:
            if time.monotonic() > deadline:
                raise WrongEnd(f"no commit in {_MOST_SECONDS} s\n{self._known(command)}")
            time.sleep(0.01)
        try:
            command.process.wait(self.random.uniform(0, most))
        except subprocess.TimeoutExpired:
            print(f"  {time.strftime('%H:%M:%S')} a fault after {len(self.watch)} parts", flush=True)
            return True
        return False

    def end(self, command: Command, *codes: int) -> str:
        """Waits for the command's end; returns what it said on stderr.

        Raises:
            WrongEnd: it does not end, or with another exit code than these.
        """
        try:
            code, _, err = command.end(_MOST_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise WrongEnd(f"not at its end after {_MOST_SECONDS} s\n{self._known(command)}") from error
        if code not in codes:
            raise WrongEnd(f"exit code {code} instead of {' or '.join(map(str, codes))}:\n{err[-3000:]}")
        return err

    def finish(self, command: Command | None = None) -> None:
        """Sees to the job's end: the same command again, if it must be, and nobody disturbs it.

        Raises:
            WrongEnd: it does not come to its end.
        """
        for _ in range(_MOST_RUNS):
            command = command or self.start()
            said = self.end(command, 0, 1)
            if command.process.returncode == 0:
                return
            command = None
        raise WrongEnd(f"not complete after {_MOST_RUNS} runs:\n{said[-3000:]}")

    def _known(self, command: Command) -> str:
        """What can be said of a command that hangs; it is ended."""
        spy, pid = BIN / "py-spy", command.process.pid
        words = (str(spy), "dump", "--pid", str(pid))
        stack = subprocess.run(words, capture_output=True, text=True).stdout if spy.exists() else ""
        below = "".join(f"{worker.pid} {worker.title[:150]}\n" for worker in workers_below(pid))
        end_all(command)
        out, err = command.said()
        return f"{len(self.watch)} parts\n{stack}\n{below}\nstdout: {out[-2000:]}\nstderr: {err[-3000:]}"
