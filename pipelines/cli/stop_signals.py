"""Ctrl-C and SIGTERM for commands that call native code, which may wait for ever and let no Python handler run."""

import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from pipelines.console import open_console

GOES_ON = "stopped; what is committed stays, and the same command goes on from there"
"""What a command says that was stopped, and keeps what it has done."""
NOTHING_WRITTEN = "stopped; nothing was written"
STOPPED = "stopped"
STOPPED_CODE = 130
_GRACE_SECONDS = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_HEARD = b"\0"
_SOON = 1e-3


class Stopped(SystemExit):
    """The end of a command that was stopped, with what it says of that."""

    def __init__(self, said: str) -> None:
        """Takes what is said."""
        super().__init__(STOPPED_CODE)
        self.said = said


@contextmanager
def saying(said: str) -> Iterator[None]:
    """Makes the KeyboardInterrupt of Ctrl-C or SIGTERM the end of the command, which says this."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(said) from None


@contextmanager
def heard_at_any_moment(said: str, grace_seconds: float = _GRACE_SECONDS) -> Iterator[None]:
    """While the block runs, Ctrl-C and SIGTERM raise KeyboardInterrupt; where that cannot be, they end the process.

    Python runs the handler of a signal when its main thread executes Python again. Where it does not within some
    seconds, because it waits in native code, a thread beside it ends the process with exit code 130. To be entered in
    the main thread.

    Args:
        said: what the command says at its end; behind the block, KeyboardInterrupt has become `Stopped`.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        # Ray may put this handler back when the block has ended.
        with suppress(OSError):
            writer.send(_HEARD)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    # The interpreter writes a signal's number here at once, before its handler has a chance to run.
    other = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reader, said, grace_seconds), name="signals", daemon=True)
    watch.start()
    try:
        with saying(said):
            yield
    finally:
        signal.set_wakeup_fd(other)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        watch.join()
        reader.close()


def _watch(reader: socket.socket, words: str, grace_seconds: float) -> None:
    """Reads numbers of signals, and after each, from its handler, that it was heard; ends with the other side."""
    ends = math.inf
    while True:
        try:
            # Of several signals the first begins the time: each further Ctrl-C would put the end off.
            reader.settimeout(None if ends == math.inf else max(ends - time.monotonic(), _SOON))
            said = reader.recv(1)
        except TimeoutError:
            open_console(stderr=True).print(words, soft_wrap=True)
            os._exit(STOPPED_CODE)
        if not said:
            return
        if said == _HEARD:
            ends = math.inf
        elif said[0] in _SIGNALS:
            ends = min(ends, time.monotonic() + grace_seconds)
