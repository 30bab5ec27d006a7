"""An online request in the scheduler: its windows that wait for a forward pass, and the future of its results."""

import math
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from actors.arrays import Ints, Longs
from actors.engine.inference_task import InferenceTask, Results
from actors.errors import DeadlinePassed
from actors.scheduling.pass_log import PassLog
from actors.tenants import DEFAULT_TENANT


class WindowSizes(NamedTuple):
    """What windows are to a cost model."""

    windows: int
    tokens: int
    """Without padding."""
    squares: int
    """Sum of squared lengths."""

    @classmethod
    def of(cls, lengths: Ints) -> "WindowSizes":
        """Of windows of these lengths, [n]."""
        wide = lengths.astype(np.int64)
        return cls(len(wide), int(wide.sum()), int(wide @ wide))


_NOTHING = WindowSizes(0, 0, 0)


@dataclass(eq=False)
class QueuedRequest:
    """An online request between its arrival and its results. Cancelling its future takes it out of the queue.

    A request brings its windows to the device in slices: a slice is as many windows as fit one quantum, or one window.
    What its first slice leaves is the remainder. `SchedulingPolicy` prefers first slices, so that a large request
    does not delay the small ones that arrive after it.
    """

    task: InferenceTask
    deadline: float
    """By the monotonic clock, in seconds; inf where there is none."""
    arrived: float
    """By the monotonic clock, in seconds."""
    future: Future[Results] = field(default_factory=Future)
    first_pass_began: float = math.nan
    """By the monotonic clock, in seconds; nan before the first pass."""
    has_failed: bool = False
    """Whether its last pass, which it had to itself, has failed."""
    not_before: float = -math.inf
    """By the monotonic clock, in seconds: when its next pass may be tried, where its last one had no room."""
    is_probe: bool = False
    """Whether it is a readiness probe, which does not count as online traffic."""
    log: PassLog | None = None
    """Of its passes, where it is traced."""
    tenant: str = DEFAULT_TENANT
    """Whose it is."""
    lengths: Ints = field(init=False)
    """[W] tokens of every window."""
    pending: Longs = field(init=False)
    """Positions of the windows that have had no pass yet, in ascending order."""
    due: float = math.inf
    """When it should have all of its results, by the clock of `arrived`; the order of remainders. See `policy.due`."""
    slice_windows: int = 0
    """How many of the pending windows may join the next pass."""
    slice_seconds: float = 0.0
    """Predicted time of these windows on the device; 0 before anything is known of the device's speed."""
    first_slice_pending: int = 0
    """How many windows of the first slice are pending; 0 once all of them have had their pass."""
    slice_size: WindowSizes = _NOTHING
    """Sizes of the windows that may join the next pass."""
    slice_decoding: float = 0.0
    """Predicted seconds of finding their spans, after the pass."""
    _settling: threading.Lock = field(default_factory=threading.Lock)
    seconds_per_window: float = 0.0
    """Predicted time of one pending window in a pass with all the others."""

    def __post_init__(self) -> None:
        self.lengths = self.task.lengths
        # What the tokenizer knows takes no pass.
        self.pending = np.arange(len(self.lengths) if self.task.wanted.outputs else 0, dtype=np.int64)

    @property
    def next_slice(self) -> Longs:
        """Positions of the windows that may join the next pass."""
        return self.pending[: self.slice_windows]

    @property
    def own_seconds(self) -> float:
        """Predicted time of all of its windows."""
        return len(self.lengths) * self.seconds_per_window

    @property
    def remainder_seconds(self) -> float:
        """Predicted time of the pending windows that are not part of the first slice."""
        return (len(self.pending) - self.first_slice_pending) * self.seconds_per_window

    def widen_slice(self, windows: int) -> None:
        """Has at least so many of the pending windows in the next slice."""
        self.slice_windows = min(max(self.slice_windows, windows), len(self.pending))
        self.slice_size = WindowSizes.of(self.lengths[self.next_slice])

    def complete(self, windows: Longs) -> None:
        """Records that windows of the next slice, [n] positions, have had their pass."""
        candidates = self.next_slice
        left = candidates[~np.isin(candidates, windows)]
        self.pending = np.concatenate([left, self.pending[self.slice_windows :]])
        self.first_slice_pending = max(self.first_slice_pending - len(windows), 0)

    def is_wanted(self) -> bool:
        """Whether a further pass is wanted; settles the request with `DeadlinePassed` where it is too late for one."""
        if self.future.done() or not len(self.pending):
            return False
        if time.monotonic() >= self.deadline:
            self.settle(error=DeadlinePassed("the deadline passed before the request had its turn"))
            return False
        return True

    def settle(self, results: Results | None = None, error: Exception | None = None) -> None:
        """Gives the future its results or its error; does nothing where it has either, or was cancelled."""
        with self._settling:
            if self.future.done() or not self.future.set_running_or_notify_cancel():
                return
            if error is not None:
                self.future.set_exception(error)
            elif results is not None:
                self.future.set_result(results)
