"""An online call, from the queue to its results."""

import math
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from actors.errors import DeadlinePassed
from actors.work import Results, Work


@dataclass(eq=False)
class Call:
    """An online call on its way. Whoever waits for it may cancel its future: then it leaves the queue."""

    work: Work
    deadline: float
    """Of the monotonic clock; inf where there is none."""
    arrived: float
    future: Future[Results] = field(default_factory=Future)
    began: float = math.nan
    """When its first pass began, by the monotonic clock; nan before."""
    next_window: int = 0
    is_probe: bool = False
    """Whether it is no sign of online traffic."""
    turn_seconds: float = 0.0
    """Predicted time of a quantum's worth of its windows; 0 where nothing is known yet."""
    window_seconds: float = 0.0
    """Predicted time of one of its windows among all of them."""

    @property
    def windows(self) -> int:
        """Windows that wait for a pass."""
        return len(self.work.prepared.windows) - self.next_window

    @property
    def rest_seconds(self) -> float:
        """Predicted time of the windows that wait beyond a quantum's worth."""
        return max(self.windows * self.window_seconds - self.turn_seconds, 0.0)

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
