"""What of native code's words reaches the terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.job.native_stderr import without_ray_lines

RED = b"\x1b[31m[2026-11-28 14:22:14,012 E 5357 5357] core_worker.cc:2465: the actor restart will fail\x1b[0m\n"
FATAL = b"[2026-11-28 14:22:14,012 C 5357 5357] core_worker.cc:99: Check failed: it is broken\n"


def test_lines_of_rays_log_are_left_out_and_all_else_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    with without_ray_lines():
        os.write(2, RED[:30])
        os.write(2, RED[30:] + RED.replace(b" E ", b" W "))
        os.write(2, FATAL + b"thread 'main' panicked at lib.rs\n" + RED[5:])
        os.write(2, b"no end of line")
    os.write(2, b"\n" + RED[5:-5])
    assert capfd.readouterr().err == (
        FATAL.decode() + "thread 'main' panicked at lib.rs\nno end of line\n" + RED[5:-5].decode()
    )


def test_more_than_a_pipe_holds(capfd: pytest.CaptureFixture[str]) -> None:
    with without_ray_lines():
        for _ in range(300):
            os.write(2, RED + b"x" * 999 + b"\n")
    assert capfd.readouterr().err == ("x" * 999 + "\n") * 300


def test_pythons_own_words_go_straight_to_the_terminal_and_a_terminal_it_stays(tmp_path: Path) -> None:
    program = """
import os, sys
from pipelines.job.native_stderr import without_ray_lines

before, is_terminal = sys.stderr, sys.stderr.isatty()
try:
    with without_ray_lines():
        assert sys.stderr.isatty() == is_terminal
        print("[2026-11-28 14:22:14,012 E 1 1] said by Python", file=sys.stderr)
        os.write(2, b"[2026-11-28 14:22:14,012 E 1 1] said by Ray\\n")
        raise KeyError("why")
finally:
    assert sys.stderr is before
"""
    with (tmp_path / "err").open("wb") as errors:
        done = subprocess.run((sys.executable, "-c", program), stderr=errors, check=False)
    said = (tmp_path / "err").read_text()
    assert done.returncode == 1
    assert said.startswith("[2026-11-28 14:22:14,012 E 1 1] said by Python\nTraceback")
    assert said.endswith("KeyError: 'why'\n")
    assert "said by Ray" not in said
