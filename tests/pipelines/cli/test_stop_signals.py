"""Signals, sent to processes of their own."""

import signal
import subprocess
import sys
import time

import pytest

from pipelines.cli.stop_signals import STOPPED

# Locking a plain mutex twice waits for ever, in native code, whatever signal comes. glibc writes a 2 into its first
# byte when somebody waits: only then is a signal sure to find the main thread outside Python.
STUCK = """
import ctypes, threading, time
from pipelines.cli.stop_signals import heard_at_any_moment
mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
def say_when_stuck():
    while mutex.raw[:1] != bytes([2]):
        time.sleep(0.01)
    print("up", flush=True)
with heard_at_any_moment(grace_seconds=0.2):
    threading.Thread(target=say_when_stuck, daemon=True).start()
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
"""
HEARS = """
import signal, time
from pipelines.cli.stop_signals import heard_at_any_moment
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
try:
    with heard_at_any_moment(grace_seconds=0.2):
        print("up", flush=True)
        try:
            time.sleep(60)
        finally:
            # Whoever was heard has all the time that it needs.
            time.sleep(0.6)
except KeyboardInterrupt:
    print("stopped", [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before, signal.set_wakeup_fd(-1))
"""


def _told(program: str, number: signal.Signals) -> tuple[int, str, str]:
    words = (sys.executable, "-c", program)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_waits_in_native_code_is_ended(number: signal.Signals) -> None:
    assert _told(STUCK, number) == (130, "", f"{STOPPED}\n")


def test_more_signals_do_not_put_the_end_off() -> None:
    with subprocess.Popen((sys.executable, "-c", STUCK), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            until = time.monotonic() + 10
            while process.poll() is None and time.monotonic() < until:
                process.send_signal(signal.SIGINT)
                time.sleep(0.05)
            assert process.poll() == 130
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_hears_ends_by_itself(number: signal.Signals) -> None:
    assert _told(HEARS, number) == (0, "stopped True -1\n", "")
