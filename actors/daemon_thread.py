"""Calls that may never return, or that Ctrl-C must not cut off, in threads of their own."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")

_NAME = "call in a daemon thread"


def in_daemon_thread(call: Callable[[], Result]) -> Future[Result]:
    """Runs a call in a thread of its own, which ends with the process at the latest.

    Whoever waits for the future in the main thread hears Ctrl-C and SIGTERM meanwhile, and may leave the call behind.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=_NAME, daemon=True).start()
    return future


def is_any_left() -> bool:
    """Whether a call is still running: its native code may crash if the interpreter ends meanwhile."""
    return any(thread.name == _NAME for thread in threading.enumerate())
