"""Where online calls wait for the device, and are taken to it together."""

import math
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from actors.batching import Schedule
from actors.calls import Call
from actors.engine import Engine, Share
from actors.errors import QueueFull
from actors.tokens import Longs
from actors.windows import Flags
from actors.work import Work


class Desk:
    """One thread that takes online calls to the device, first come, first served, those that wait together at once.

    It goes in rounds, each of which has the device to itself. To a round every waiting call brings its next windows, as
    many as are predicted to take a quantum: so small calls that came together, or while the device was taken, share
    passes, and a large one does not make the others wait for all of it. Those who have waited longest bring more, up to
    as much again as the others bring: so a large call that shares its rounds with many does not need many of them.
    """

    def __init__(self, engine: Engine, quantum: float, most: int, longest: float = math.inf) -> None:
        """Starts the thread.

        Args:
            quantum: seconds of passes that every call may bring to a round; one window may take longer.
            most: calls that may wait.
            longest: seconds that a round of all who wait may be predicted to take.
        """
        self._engine = engine
        self._quantum = quantum
        self._most = most
        self._longest = longest
        self._changed = threading.Condition()
        self._calls: list[Call] = []
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="online", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Calls that wait or are in a pass."""
        return sum(not call.future.done() for call in self._calls)

    @property
    def alive(self) -> bool:
        """False once the thread is gone, and nothing will ever be answered."""
        return self._thread.is_alive()

    def check_room(self) -> None:
        """Looks whether one more call may come.

        Raises:
            QueueFull: as many wait as may, or those who wait would make it wait for too long.
        """
        waiting = [call for call in list(self._calls) if not call.future.done()]
        if len(waiting) >= self._most:
            raise QueueFull(f"{len(waiting)} requests wait already")
        # A single call may be longer than that, and must not shut out the next.
        if len(waiting) > 1 and (seconds := _round_seconds(waiting)) > self._longest:
            raise QueueFull(f"the {len(waiting)} requests that wait take {seconds:.1f} s already")

    def take(self, work: Work, deadline: float = math.inf, *, is_probe: bool = False) -> Call:
        """Queues a call.

        Raises:
            QueueFull: as many calls as may wait do so already, or they take too long.
        """
        call = Call(work, deadline, time.monotonic(), is_probe=is_probe)
        call.turn_seconds = self._predicted(call, self._within(call, self._quantum))
        call.window_seconds = self._predicted(call, call.windows) / max(call.windows, 1)
        with self._changed:
            if self._closed:
                raise QueueFull("the model actor is shutting down")
            self.check_room()
            self._calls.append(call)
            self._tell([call])
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
            # The calls are looked at only when the device is free: whoever came meanwhile is in the round too.
            with self._engine.turns.online():
                together = list(self._calls)
                self._round(together)
            self._tell(together)
            with self._changed:
                self._calls = [call for call in self._calls if not call.future.done()]

    def _tell(self, calls: Sequence[Call]) -> None:
        # A readiness probe every few seconds must not keep offline passes short for ever.
        if not all(call.is_probe for call in calls):
            self._engine.turns.arrived()

    def _round(self, calls: Sequence[Call]) -> None:
        kinds: dict[tuple[bool, bool, bool], list[Call]] = {}
        for call in calls:
            if call.is_wanted():
                kinds.setdefault(call.work.kind, []).append(call)
        for alike in kinds.values():
            try:
                self._passes(alike)
            except Exception as error:
                if len(alike) == 1:
                    alike[0].settle(error=error)
                else:
                    # One of them is to blame, and must fail alone.
                    for call in alike:
                        self._round([call])

    def _passes(self, calls: Sequence[Call]) -> None:
        brought = self._brought(calls)
        owner = np.repeat(np.arange(len(calls)), [len(b) for b in brought])
        window = np.concatenate(brought)
        schedule = Schedule(np.concatenate([call.work.lengths[b] for call, b in zip(calls, brought, strict=True)]))
        sizes = np.array([len(windows) for windows in brought])
        left = sizes
        _advance(calls, sizes, left == 0)
        while len(schedule):
            chosen = schedule.peek(self._engine.choose(schedule, math.inf))
            if self._pass(calls, owner[chosen], window[chosen]):
                schedule.drop(len(chosen))
                before, left = left, left - np.bincount(owner[chosen], minlength=len(calls))
                _advance(calls, sizes, (left == 0) & (before > 0))

    def _pass(self, calls: Sequence[Call], owner: Longs, window: Longs) -> bool:
        """False where it was too large, and has to be chosen again."""
        present = [i for i in np.unique(owner) if calls[i].is_wanted()]
        now = time.monotonic()
        for i in present:
            calls[i].began = now if math.isnan(calls[i].began) else calls[i].began
        shares = [Share(calls[i].work, window[owner == i]) for i in present]
        return not shares or self._engine.run(shares, _at_once)

    def _brought(self, calls: Sequence[Call]) -> list[Longs]:
        """Positions of the windows that each call brings to a round, first come first."""
        fair = [self._within(call, self._quantum) for call in calls]
        turns = [self._predicted(call, windows) for call, windows in zip(calls, fair, strict=True)]
        spare = _spare(turns)
        brought = []
        for call, windows, turn in zip(calls, fair, turns, strict=True):
            more = windows
            if spare > 0 and windows < call.windows:
                more = max(self._within(call, turn + spare), windows)
                spare -= max(self._predicted(call, more) - turn, 0.0)
            brought.append(np.arange(call.next_window, call.next_window + more, dtype=np.int64))
        return brought

    def _within(self, call: Call, seconds: float) -> int:
        """Next windows of a call that fit so much time, one at least where there are any."""
        lengths = call.work.lengths[call.next_window :]
        if not len(lengths):
            return 0
        return self._engine.windows_within(seconds, int(lengths.max()), len(lengths))

    def _predicted(self, call: Call, windows: int) -> float:
        return self._engine.predicted(call.work.lengths[call.next_window : call.next_window + windows])


def _round_seconds(calls: Sequence[Call]) -> float:
    """Predicted time of a round of these calls."""
    turns = [call.turn_seconds for call in calls]
    return sum(turns) + min(sum(call.rest_seconds for call in calls), _spare(turns))


def _spare(turns: Sequence[float]) -> float:
    """Seconds that large calls may bring to a round beyond their turns: what all but the longest turn take."""
    return sum(turns) - max(turns, default=0.0)


def _advance(calls: Sequence[Call], windows: Longs, through: Flags) -> None:
    """Calls that are `through` the round leave it at once, with their results where they have no more windows."""
    for i in np.flatnonzero(through).tolist():
        calls[i].next_window += int(windows[i])
        if not calls[i].windows and not calls[i].future.done():
            calls[i].settle(calls[i].work.results())


def _at_once(seconds: float) -> AbstractContextManager[bool]:
    """The turn of a pass in a round, which has the device already."""
    return nullcontext(True)
