"""Where online calls wait for the device, and are taken to it together."""

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from actors.batching import Schedule
from actors.costs import Size
from actors.engine import Engine, Share
from actors.errors import DeadlinePassed, QueueFull
from actors.tokens import Longs
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
    """When its first pass was chosen; nan before."""
    next_window: int = 0

    @property
    def windows(self) -> int:
        """Windows that wait for a pass."""
        return len(self.work.prepared.windows) - self.next_window


class Desk:
    """One thread that takes online calls to the device, first come, first served, those that wait together at once.

    It goes in rounds. To a round every waiting call brings its next windows, as many as are predicted to take a
    quantum: so small calls that came together share passes, and a large one does not make the others wait for all of
    it.
    """

    def __init__(self, engine: Engine, quantum: float, most: int) -> None:
        """Starts the thread.

        Args:
            quantum: seconds of passes that one call may bring to a round; one window may take longer.
            most: calls that may wait.
        """
        self._engine = engine
        self._quantum = quantum
        self._most = most
        self._changed = threading.Condition()
        self._calls: list[Call] = []
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="online", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Calls that wait or are in a pass."""
        return len(self._calls)

    def take(self, work: Work, deadline: float = math.inf) -> Call:
        """Queues a call.

        Raises:
            QueueFull: as many calls as may wait do so already.
        """
        call = Call(work, deadline, time.monotonic())
        with self._changed:
            if self._closed or len(self._calls) >= self._most:
                raise QueueFull(f"{len(self._calls)} requests wait already")
            self._engine.turns.arrived()
            self._calls.append(call)
            self._changed.notify()
        return call

    def close(self) -> None:
        """Finishes what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls or self._closed)
                if not self._calls:
                    return
                calls = list(self._calls)
            self._round([call for call in calls if self._still_wanted(call)])
            self._engine.turns.arrived()
            with self._changed:
                self._calls = [call for call in self._calls if not call.future.done()]

    def _still_wanted(self, call: Call) -> bool:
        if call.future.cancelled():
            return False
        if time.monotonic() >= call.deadline:
            _settle(call, error=DeadlinePassed("the deadline passed before the request had its turn"))
            return False
        return True

    def _round(self, calls: Sequence[Call]) -> None:
        kinds: dict[tuple[bool, bool, bool], list[Call]] = {}
        for call in calls:
            kinds.setdefault(call.work.kind, []).append(call)
        for alike in kinds.values():
            try:
                self._passes(alike)
            except Exception as error:
                if len(alike) == 1:
                    _settle(alike[0], error=error)
                else:
                    # One of them is to blame, and must fail alone.
                    for call in alike:
                        self._round([call])

    def _passes(self, calls: Sequence[Call]) -> None:
        brought = [np.arange(call.next_window, call.next_window + self._fair(call), dtype=np.int64) for call in calls]
        owner = np.repeat(np.arange(len(calls)), [len(b) for b in brought])
        window = np.concatenate(brought)
        schedule = Schedule(np.concatenate([call.work.lengths[b] for call, b in zip(calls, brought, strict=True)]))
        now = time.monotonic()
        for call in calls:
            call.began = now if math.isnan(call.began) else call.began
        while len(schedule):
            chosen = schedule.peek(self._engine.choose(schedule, math.inf))
            if self._engine.run(_shares(calls, owner[chosen], window[chosen]), lambda _: self._engine.turns.online()):
                schedule.drop(len(chosen))
        for call, windows in zip(calls, brought, strict=True):
            call.next_window += len(windows)
            if not call.windows:
                _settle(call, call.work.results())

    def _fair(self, call: Call) -> int:
        """Next windows of a call that fit a quantum, one at least."""
        lengths = call.work.lengths[call.next_window :]
        each = self._engine.seconds(Size(1, int(lengths.max())))
        if not math.isfinite(each) or each <= 0:
            return 1
        return min(max(int(self._quantum / each), 1), len(lengths))


def _shares(calls: Sequence[Call], owner: Longs, window: Longs) -> list[Share]:
    return [Share(calls[i].work, window[owner == i]) for i in np.unique(owner)]


def _settle(call: Call, results: Results | None = None, error: Exception | None = None) -> None:
    # Whoever waited may have gone since.
    if not call.future.set_running_or_notify_cancel():
        return
    if error is not None:
        call.future.set_exception(error)
    elif results is not None:
        call.future.set_result(results)
