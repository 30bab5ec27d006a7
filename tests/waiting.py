"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Returns once something is so; fails where it is not after a time that a busy machine does not need."""
    end = time.monotonic() + seconds
    pause = 0.001
    while not condition():
        assert time.monotonic() < end, f"it never came true in {seconds:g} s"
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
