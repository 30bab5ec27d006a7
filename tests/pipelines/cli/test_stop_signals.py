"""Signals, sent to processes of their own."""

import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from pipelines.cli.stop_signals import _HEARD, _watch

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
with heard_at_any_moment('stopped; all is well', grace_seconds=0.2):
    threading.Thread(target=say_when_stuck, daemon=True).start()
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)
"""
# Short sleeps: one for a minute would begin after a signal that comes just before it, and then last a minute.
HEARS = """
import signal, time
from pipelines.cli.stop_signals import Stopped, heard_at_any_moment
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
try:
    with heard_at_any_moment('stopped; all is well', grace_seconds=60):
        print("up", flush=True)
        while True:
            time.sleep(0.1)
except Stopped as stop:
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    print(stop.said, stop.code, after == before, signal.set_wakeup_fd(-1))
"""


def _told(program: str, number: signal.Signals) -> tuple[int, str, str]:
    words = (sys.executable, "-c", program)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_waits_in_native_code_is_ended(number: signal.Signals) -> None:
    assert _told(STUCK, number) == (130, "", "stopped; all is well\n")


def test_more_signals_do_not_put_the_end_off() -> None:
    with subprocess.Popen((sys.executable, "-c", STUCK), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            until = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until:
                process.send_signal(signal.SIGINT)
                time.sleep(0.05)
            assert process.poll() == 130
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_hears_ends_by_itself(number: signal.Signals) -> None:
    assert _told(HEARS, number) == (0, "stopped; all is well 130 True -1\n", "")


def test_whoever_was_heard_has_all_the_time_that_it_needs() -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        # Both are there before anybody reads, so no machine is too slow for what is heard at once.
        writer.send(bytes([signal.SIGINT]) + _HEARD)
        watch = threading.Thread(target=_watch, args=(reader, "", 0.01), daemon=True)
        watch.start()
        watch.join(0.2)
        assert watch.is_alive(), "it would have ended this process"
        writer.close()
        watch.join(60)
        assert not watch.is_alive()
