"""The passes that a traced request had part in, as its trace shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.arrays import Longs

if TYPE_CHECKING:
    from actors.scheduling.request import QueuedRequest


@dataclass(frozen=True)
class LoggedPass:
    """A pass, and the part of one request in it."""

    began: float
    """By the scheduler's clock, in seconds."""
    ended: float
    windows: int
    """Of the request."""
    all_windows: int
    """Of the pass."""
    requests: int
    """That share the pass, this one included."""
    shared_with: tuple[object, ...]
    """Spans of other traced requests in it: the first one's pass has those of all others, theirs that of the first, so
    that a pass of n requests has 2 (n - 1) links, and not n (n - 1)."""
    error: str
    """Kind of the error that it ended with; empty where there is none."""


@dataclass(frozen=True)
class PassLog:
    """The passes of one request, in their order."""

    span: object
    """Of the request; the scheduler hands it on, and does not know what it is."""
    passes: list[LoggedPass] = field(default_factory=list)


def log_pass(windows: Mapping["QueuedRequest", Longs], began: float, ended: float, error: str = "") -> None:
    """Notes a pass for those of its requests that are traced; where none is, it costs some nanoseconds for each.

    Args:
        windows: positions of the windows of every request that had part in it.
    """
    for request in windows:
        if request.log is not None:
            break
    else:
        return
    traced = [(request.log, len(own)) for request, own in windows.items() if request.log is not None]
    spans = [log.span for log, _ in traced]
    total = sum(map(len, windows.values()))
    for number, (log, own) in enumerate(traced):
        shared_with = spans[:1] if number else spans[1:]
        log.passes.append(LoggedPass(began, ended, own, total, len(windows), tuple(shared_with), error))
