"""An online call, from the queue to its results, and when it should have its next pass."""

import math
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from actors.errors import DeadlinePassed
from actors.tokens import Ints, Longs
from actors.work import Results, Work

_AFTER_THE_FIRST = 1.0
"""Seconds by which all but a call's first windows are due later: whoever comes within them goes first."""
_PER_SECOND = 3.0
"""Seconds by which every second of the device makes the rest of a call due later: a third of it is everybody's."""


@dataclass(eq=False)
class Call:
    """An online call on its way. Whoever waits for it may cancel its future: then it leaves the queue.

    The calls share the device by what is due. A call's first windows are due when it comes. The rest is due later, so
    that those who come meanwhile go first, and the later the more the call has had. So a small call waits for nobody's
    rest, large ones are finished in the order they came, and a huge one leaves room for all others.
    """

    work: Work
    deadline: float
    """Of the monotonic clock; inf where there is none."""
    arrived: float
    future: Future[Results] = field(default_factory=Future)
    began: float = math.nan
    """When its first pass began, by the monotonic clock; nan before."""
    is_probe: bool = False
    """Whether it is no sign of online traffic."""
    lengths: Ints = field(init=False)
    """[W] tokens of every window."""
    waiting: Longs = field(init=False)
    """Positions of the windows that wait for a pass, in order."""
    due: float = field(init=False)
    """When it should have its next pass, by the monotonic clock."""
    turn: int = 0
    """How many of the windows that wait it may bring to a pass."""
    turn_seconds: float = 0.0
    """Predicted time of these; 0 where nothing is known yet."""
    window_seconds: float = 0.0
    """Predicted time of one of its windows among all of them."""

    def __post_init__(self) -> None:
        self.lengths = self.work.lengths
        self.waiting = np.arange(len(self.lengths), dtype=np.int64)
        self.due = self.arrived

    @property
    def brings(self) -> Longs:
        """Positions of the windows that it may bring to the next pass."""
        return self.waiting[: self.turn]

    def seconds_due(self, until: float) -> float:
        """Predicted time of those of its windows that are due by then."""
        rest = len(self.waiting) * self.window_seconds
        return min(rest, self.turn_seconds + max(until - self.due, 0.0) / _PER_SECOND)

    def had(self, windows: Longs, latest: float) -> None:
        """Some of the windows that it brought have had their pass.

        Args:
            latest: when the rest is due at the latest.
        """
        brought = self.brings
        self.waiting = np.concatenate([brought[~np.isin(brought, windows)], self.waiting[self.turn :]])
        is_first = len(self.waiting) + len(windows) == len(self.lengths)
        self.due += len(windows) * self.window_seconds * _PER_SECOND + (_AFTER_THE_FIRST if is_first else 0.0)
        self.due = min(self.due, latest)

    def is_wanted(self) -> bool:
        """False once it is done, cancelled or too late; whoever waits for it is told then."""
        if self.future.done():
            return False
        if time.monotonic() >= self.deadline:
            self.settle(error=DeadlinePassed("the deadline passed before the request had its turn"))
            return False
        return True

    def settle(self, results: Results | None = None, error: Exception | None = None) -> None:
        """Ends it with results or an error, unless whoever waited has gone."""
        if not self.future.set_running_or_notify_cancel():
            return
        if error is not None:
            self.future.set_exception(error)
        elif results is not None:
            self.future.set_result(results)
