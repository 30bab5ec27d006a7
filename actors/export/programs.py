"""Programs that forms are written and read with, each a process of its own: run to its end, or asked many times."""

import errno
import os
import subprocess
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from actors.errors import ModelError, first_line

Words = Sequence[str | Path]
"""A program and its arguments."""


def run_program(words: Words, name: str, environment: Mapping[str, str] | None = None) -> None:
    """Runs a program to its end; one that is interrupted meanwhile ends as well.

    Args:
        name: of the program, for messages.
        environment: variables beside those of this process.

    Raises:
        ModelError: it cannot be started, or ended with another exit code than 0; with the last line that it said.
        OSError: it said that the disk is full.
    """
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **(environment or {})}
        )
    except OSError as error:
        raise _not_started(words, name, error) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise ModelError(f"{name} ended with exit code {done.returncode}: {_last_line(said)}")


class AskedProgram:
    """A program that answers on its standard output what comes on its standard input; it ends with this object."""

    def __init__(self, words: Words, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Starts it; arguments as of `run_program`.

        Raises:
            ModelError: it cannot be started.
        """
        self._name = name
        # Closed by `_end`.
        self._errors = TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            self._errors.close()
            raise _not_started(words, name, error) from error
        weakref.finalize(self, _end, self._process, self._errors)

    def ask(self, question: bytes, read: Callable[[IO[bytes]], bytes]) -> bytes:
        """What it answers to a question.

        Args:
            read: takes one answer, never empty, from its standard output.

        Raises:
            ModelError: it ended without an answer; with the last line that it said.
        """
        asks, answers = self._process.stdin, self._process.stdout
        assert asks is not None
        assert answers is not None
        with suppress(BrokenPipeError):
            asks.write(question)
            asks.flush()
            if answer := read(answers):
                return answer
        self._process.wait()
        self._errors.seek(0)
        said = _last_line(self._errors.read().decode(errors="replace"))
        raise ModelError(f"{self._name} ended with exit code {self._process.returncode}: {said}")


def _end(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout, errors):
        # What was not sent yet cannot be.
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
    process.wait()


def _not_started(words: Words, name: str, error: OSError) -> ModelError:
    return ModelError(f"{name} cannot be started: {words[0]}: {error.strerror or first_line(error)}")


def _last_line(text: str) -> str:
    return (text.strip() or "it said nothing").splitlines()[-1].strip()
