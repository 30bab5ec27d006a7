"""What native code writes to stderr beside Ray's own log lines, which a healthy job is full of."""

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_STDERR = 2
_RAY_LINE = re.compile(rb"(\x1b\[[0-9;]*m)*\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ [DIWE] \d+ \d+\] ")
"""A line of Ray's C++ log that is not fatal: `[2026-11-28 14:22:14,012 E 5357 5357] core_worker.cc:2465: ...`."""
_CHUNK = 1 << 16
_LONGEST = 1 << 20
"""Bytes of a line: what has no end by then goes on as it is."""
_END_SECONDS = 2.0


@contextmanager
def without_ray_lines() -> Iterator[None]:
    """While the block runs, lines of Ray's C++ log do not reach the terminal; everything else does, at once.

    Ray writes errors of the driver's process to its stderr as well as to its log file, among them warnings that come
    with every pool of actors that may be restarted. They stay in `session_latest/logs/python-core-driver-*.log`. Fatal
    ones and their stack traces go on to the terminal.

    What Python writes to `sys.stderr` goes past this. Processes that are started within the block inherit it. To be
    entered by one thread at a time.
    """
    before = sys.stderr
    terminal = os.dup(_STDERR)
    read, write = os.pipe()
    own = _own_stream(before, terminal)
    os.dup2(write, _STDERR)
    os.close(write)
    reader = threading.Thread(target=_forward, args=(read, terminal), name="native stderr", daemon=True)
    reader.start()
    if own is not None:
        sys.stderr = own
    try:
        yield
    finally:
        if own is not None:
            # Not closed: loggers that were set up meanwhile may write to it.
            own.flush()
            sys.stderr = before if sys.stderr is own else sys.stderr
        # The pipe ends with its last writer; a process that was started meanwhile and lives on may be one.
        os.dup2(terminal, _STDERR)
        reader.join(_END_SECONDS)


def _own_stream(stderr: TextIO | None, terminal: int) -> TextIO | None:
    """A stream straight to the terminal, in the place of Python's; None where Python's is something else already."""
    try:
        if stderr is None or stderr.fileno() != _STDERR:
            return None
        stderr.flush()
    except (OSError, ValueError, AttributeError):
        return None
    return os.fdopen(os.dup(terminal), "w", buffering=1, encoding=stderr.encoding, errors=stderr.errors)


def _forward(read: int, terminal: int) -> None:
    rest = b""
    try:
        while data := os.read(read, _CHUNK):
            *lines, rest = (rest + data).split(b"\n")
            text = b"".join(line + b"\n" for line in lines if not _RAY_LINE.match(line))
            # A line without an end, such as a progress bar, is not held back, unless it may become one of Ray's.
            if not rest.startswith((b"[", b"\x1b")) or len(rest) > _LONGEST:
                text, rest = text + rest, b""
            _write(terminal, text)
        if not _RAY_LINE.match(rest):
            _write(terminal, rest)
    finally:
        os.close(read)
        os.close(terminal)


def _write(terminal: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(terminal, data) :]
    except OSError:
        pass  # nobody reads it any more, and whoever writes must not be held up
