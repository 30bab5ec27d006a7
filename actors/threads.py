"""Calls of native code in threads of their own: the main thread hears Ctrl-C and SIGTERM meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def in_daemon_thread(call: Callable[[], Result]) -> Future[Result]:
    """Runs a call that may never return in a thread of its own, which ends with the process at the latest."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="in_daemon_thread", daemon=True).start()
    return future
