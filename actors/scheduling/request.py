"""An online call, from the queue to its results."""

import math
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from actors.arrays import Ints, Longs
from actors.engine.inference_task import InferenceTask, Results
from actors.errors import DeadlinePassed


@dataclass(eq=False)
class QueuedRequest:
    """An online call on its way. Whoever waits for it may cancel its future: then it leaves the queue."""

    work: InferenceTask
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
    turn: int = 0
    """How many of the windows that wait it may bring to a pass."""
    turn_seconds: float = 0.0
    """Predicted time of these; 0 where nothing is known yet."""
    fresh: int = 0
    """How many windows of its first turn still wait."""
    window_seconds: float = 0.0
    """Predicted time of one of the windows that wait, among all of them."""

    def __post_init__(self) -> None:
        self.lengths = self.work.lengths
        self.waiting = np.arange(len(self.lengths), dtype=np.int64)

    @property
    def brings(self) -> Longs:
        """Positions of the windows that it may bring to the next pass."""
        return self.waiting[: self.turn]

    @property
    def seconds_of_rest(self) -> float:
        """Predicted time of the windows that wait beyond its first turn's."""
        return (len(self.waiting) - self.fresh) * self.window_seconds

    def had(self, windows: Longs) -> None:
        """Some of the windows that it brought, [n] positions, have had their pass."""
        brought = self.brings
        self.waiting = np.concatenate([brought[~np.isin(brought, windows)], self.waiting[self.turn :]])
        self.fresh = max(self.fresh - len(windows), 0)

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
