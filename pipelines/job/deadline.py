"""Calls that may never return, with a deadline: Ctrl-C and SIGTERM are heard meanwhile, and a person is told."""

from collections.abc import Callable
from concurrent.futures import wait
from typing import TypeVar

from actors.daemon_thread import in_daemon_thread
from pipelines.console import open_console

Result = TypeVar("Result")

_PATIENCE = 2.0
"""Seconds before a person is told what is waited for."""


def within(seconds: float, waiting_for: str, call: Callable[[], Result]) -> Result:
    """What a call gives that waits in native code, where Python hears no signal: it runs in a thread of its own.

    Args:
        seconds: after which it is given up; the thread is left behind, and ends with the process.
        waiting_for: what it waits for, such as "Ray at 10.0.0.1:6379", for people.

    Raises:
        TimeoutError: the time is over; the message says what did not answer.
    """
    future = in_daemon_thread(call)
    patience = min(_PATIENCE, seconds)
    if not wait((future,), patience).done:
        open_console(stderr=True).print(f"waiting for {waiting_for}, at most {seconds:g} s ...")
        if not wait((future,), seconds - patience).done:
            raise TimeoutError(f"{waiting_for} did not answer within {seconds:g} s")
    return future.result()
