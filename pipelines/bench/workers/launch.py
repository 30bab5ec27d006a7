"""The process of a peer: loads it, says that it is ready, and then does one thing after another as it is asked.

    PYTHON launch.py PEER.py SETUP

It and the peer's file stand alone: other environments run them by their paths, so they import nothing of Spanmill.
SETUP is a JSON object, which `load` of the peer's file gets. What that returns answers or embeds:

* `answer(questions, contexts, setting)` gives the start and the end of each row's answer, in characters, or None;
* `embed(texts, setting)` gives vectors of length 1, [R, D];
* `seconds`, where it is a number after a call, is the time of that call, instead of what is measured here;
* every other public method can be asked for too, with arguments and a result of JSON.

Each line on the standard input is a JSON object: `do` names the call, all else are its arguments. Each line on the
standard output is the answer. Reading and writing of files is never part of the time.
"""

import importlib.util
import json
import os
import re
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Peer:
    """A loaded peer, asked by name."""

    def __init__(self, loaded: Any) -> None:
        self._loaded = loaded

    def ask(self, do: str, **arguments: Any) -> Any:
        """What a line of the standard input asks for."""
        if do == "answer":
            rows = _read(arguments["rows"])
            seconds, spans = self._timed("answer", rows["question"], rows["context"], arguments["setting"])
            return {"seconds": seconds, "spans": spans}
        if do == "embed":
            seconds, vectors = self._timed("embed", _read(arguments["rows"])["text"], arguments["setting"])
            import numpy

            numpy.save(arguments["vectors"], numpy.asarray(vectors, dtype=numpy.float32))
            return {"seconds": seconds}
        return getattr(self._loaded, do)(**arguments)

    def _timed(self, call: str, *arguments: Any) -> tuple[float, Any]:
        self._loaded.seconds = None
        started = time.perf_counter()
        result = getattr(self._loaded, call)(*arguments)
        seconds = time.perf_counter() - started
        return (seconds if self._loaded.seconds is None else self._loaded.seconds), result


def _read(path: str) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = json.loads(Path(path).read_text(encoding="utf-8"))
    return columns


def _load(file: str, setup: dict[str, Any]) -> Any:
    spec = importlib.util.spec_from_file_location(f"spanmill_peer_{Path(file).stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where pickle looks for what a peer sends to processes of its own.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.load(setup)


def _line(error: BaseException) -> str:
    """What an error says, on one line; Ray's say first where it was, and last what it was."""
    said = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()] or ["no message"]
    return f"{type(error).__name__}: {said[-1 if type(error).__module__.startswith('ray.') else 0]}"


def _versions(names: list[str]) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in names}


def main(file: str, setup: str) -> None:
    """Loads the peer and serves it until the input ends; an error is an answer, and the process goes on."""
    # Ctrl-C reaches all processes of a terminal; whoever started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        # Whatever else prints must not come between the answers.
        os.dup2(2, 1)

        def say(answer: Any) -> None:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

        try:
            loaded = _load(file, json.loads(setup))
        except Exception as error:
            say({"error": _line(error)})
            raise
        declined = getattr(loaded, "declined", None)
        say({"versions": _versions(loaded.packages), "precision": loaded.precision, "declined": declined})
        peer = Peer(loaded)
        for line in sys.stdin:
            try:
                say({"answer": peer.ask(**json.loads(line))})
            except Exception as error:
                say({"error": _line(error)})


if __name__ == "__main__":
    main(*sys.argv[1:])
