"""A process that has loaded a model, and does one thing after another as it is asked."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Worker:
    """The other side of `peer_worker.serve`."""

    process: "subprocess.Popen[str]"
    calls: frozenset[str]
    """What it can be asked."""
    versions: dict[str, str]
    """Of the packages that it has loaded."""

    def ask(self, call: str, **arguments: object) -> dict[str, Any]:
        """Has it do something, and waits for what it says.

        Raises:
            CalledProcessError: it has ended; why, it has written on the standard error.
        """
        assert self.process.stdin is not None
        # One that has ended answers nothing, which is seen below.
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": call, **arguments}) + "\n")
            self.process.stdin.flush()
        return _answer(self.process)


@contextmanager
def working(words: Sequence[str]) -> Iterator[Worker]:
    """Starts one, waits until it is ready, and stops it with the block.

    Raises:
        CalledProcessError: it does not come so far.
    """
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            ready = _answer(process)
            yield Worker(process, frozenset(ready["calls"]), ready["versions"])
        finally:
            process.terminate()


def _answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise subprocess.CalledProcessError(process.wait(), process.args)
    answer: dict[str, Any] = json.loads(line)
    return answer
