"""A process that has loaded a peer, and does one thing after another as it is asked."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipelines.errors import SpanmillError

WORKERS = Path(__file__).parent / "workers"
"""Where the files of peers lie."""
_LAUNCH = WORKERS / "launch.py"
_LAST_BYTES = 1 << 14
_END_SECONDS = 5.0


class PeerFailed(SpanmillError):
    """A peer could not be loaded, or did not do what it was asked; the message is a line that says why."""


@dataclass(frozen=True)
class Interpreter:
    """What runs a peer."""

    python: Path
    is_own: bool
    """Whether it is this environment, where peers may import Spanmill."""

    def command(self, *words: str) -> list[str]:
        """Runs a file, without what else lies beside it or in the user's own packages."""
        return [str(self.python), "-P" if self.is_own else "-I", *words]


@dataclass(frozen=True)
class Worker:
    """The other side of `workers/launch.py`."""

    process: "subprocess.Popen[str]"
    log: IO[bytes]
    """What it writes to its standard error."""
    versions: dict[str, str]
    """Of the packages that it is made of."""
    precision: str
    declined: str | None
    """Why there is nothing to measure, although all is installed."""

    def ask(self, call: str, **arguments: object) -> Any:
        """Has it do something, and waits for what it says.

        Raises:
            PeerFailed: it says that it cannot, or it has ended.
        """
        assert self.process.stdin is not None
        # One that has ended answers nothing, which is seen below.
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": call, **arguments}) + "\n")
            self.process.stdin.flush()
        return _answer(self.process, self.log)["answer"]


@contextmanager
def working(interpreter: Interpreter, peer: Path, setup: Mapping[str, object]) -> Iterator[Worker]:
    """Starts a peer, waits until it is loaded, and ends it with the block.

    Args:
        peer: its file; `launch.py` says what is in it.
        setup: what it is told, as JSON.

    Raises:
        PeerFailed: it cannot be loaded.
    """
    words = interpreter.command(str(_LAUNCH), str(peer), json.dumps(setup))
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "true",
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            ready = _answer(process, log)
            yield Worker(process, log, ready["versions"], ready["precision"], ready["declined"])
        finally:
            _end(process)


def run_to_end(interpreter: Interpreter, module: str, *words: str) -> None:
    """Runs a module of this package to its end.

    Raises:
        PeerFailed: it failed.
    """
    done = subprocess.run(interpreter.command("-m", module, *words), capture_output=True, text=True)
    if done.returncode:
        raise PeerFailed(_last_line(done.stderr) or f"{module} ended with exit code {done.returncode}")


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        # What was not written any more cannot be now.
        with suppress(BrokenPipeError):
            stream.close() if stream is not None else None


def _answer(process: "subprocess.Popen[str]", log: IO[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        code = process.wait()
        log.seek(max(log.seek(0, os.SEEK_END) - _LAST_BYTES, 0))
        said = _last_line(log.read().decode(errors="replace"))
        how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise PeerFailed(f"{how}{': ' if said else ''}{said}")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise PeerFailed(answer["error"])
    return answer


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
