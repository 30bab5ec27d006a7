"""Programs that end well, badly or not at all."""

import errno
import sys
from typing import IO

import pytest

from actors.errors import ModelError
from actors.export.programs import AskedProgram, run_program

ECHO = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"


def _read(answers: IO[bytes]) -> bytes:
    return answers.readline()


def test_a_program_that_fails_is_told_with_its_last_line() -> None:
    run_program([sys.executable, "-c", "print('fine')"], "Python")
    with pytest.raises(ModelError, match=r"^Python ended with exit code 1: ValueError: no such thing$"):
        run_program([sys.executable, "-c", "raise ValueError('no such thing')"], "Python")
    with pytest.raises(ModelError, match=r"^Python ended with exit code 3: it said nothing$"):
        run_program([sys.executable, "-c", "import os; os._exit(3)"], "Python")


def test_variables_are_added_to_its_environment() -> None:
    program = "import os; raise SystemExit(os.environ['ONE'] + str('PATH' in os.environ))"
    with pytest.raises(ModelError, match="2True"):
        run_program([sys.executable, "-c", program], "Python", {"ONE": "2"})


def test_a_full_disk_is_an_error_of_the_disk() -> None:
    program = "import errno, os; raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))"
    with pytest.raises(OSError, match="No space left") as raised:
        run_program([sys.executable, "-c", program], "Python")
    assert raised.value.errno == errno.ENOSPC


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"^Rust cannot be started: /no/such/rustc: No such file or directory$"):
        run_program(["/no/such/rustc"], "Rust")
    with pytest.raises(ModelError, match=r"^Rust cannot be started: /no/such/rustc: No such file or directory$"):
        AskedProgram(["/no/such/rustc"], "Rust")


def test_it_is_asked_many_times_and_ends_with_its_object() -> None:
    program = AskedProgram([sys.executable, "-c", ECHO], "Python")
    process = program._process
    assert [program.ask(word, _read) for word in (b"one\n", b"three\n")] == [b"eno\n", b"eerht\n"]
    assert process.poll() is None
    del program
    # It was waited for: nothing is left of it.
    assert process.returncode is not None


def test_one_that_ends_instead_of_answering_is_told_with_its_last_line() -> None:
    program = AskedProgram([sys.executable, "-c", "input(); raise ValueError('a riddle')"], "Python")
    with pytest.raises(ModelError, match=r"^Python ended with exit code 1: ValueError: a riddle$"):
        program.ask(b"one\n", _read)
    with pytest.raises(ModelError, match=r"a riddle$"):
        program.ask(b"x" * 1_000_000, _read)
