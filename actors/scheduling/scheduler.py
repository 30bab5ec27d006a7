"""Where online calls wait for the device, and are taken to it together."""

import math
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from actors.engine.engine import Engine, Share
from actors.engine.inference_task import InferenceTask
from actors.errors import QueueFull, ShuttingDown
from actors.scheduling.coalescing import Part, next_pass
from actors.scheduling.policy import FIRST_TURNS, SchedulingPolicy, seconds_before
from actors.scheduling.request import QueuedRequest


class OnlineScheduler:
    """One thread that takes online calls to the device, a pass at a time, those who wait together in one.

    Every pass is chosen when the device is free for it, so whoever came during the last one is looked at too.
    `SchedulingPolicy` says whose turn it is, and `next_pass` who else has part in the pass.
    """

    def __init__(self, engine: Engine, quantum: float, most: int, longest: float = math.inf) -> None:
        """Starts the thread.

        Args:
            quantum: seconds of a pass that every call may bring; one window may take longer.
            most: calls that may wait.
            longest: seconds that the first turn of a call may be predicted to wait, and about what its rest may.
        """
        self._engine = engine
        self._quantum = quantum
        self._most = most
        self._longest = longest
        self._changed = threading.Condition()
        self._calls: list[QueuedRequest] = []
        self._closed = False
        self._agenda = SchedulingPolicy()
        self._thread = threading.Thread(target=self._serve, name="online", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Calls that wait or are in a pass."""
        return sum(not call.future.done() for call in self._calls)

    @property
    def alive(self) -> bool:
        """False once the thread is gone, and nothing will ever be answered."""
        return self._thread.is_alive()

    def check_room(self, call: QueuedRequest | None = None) -> None:
        """Looks whether one more call may come.

        Args:
            call: None where it is not known yet: then only what every call has to wait for counts.

        Raises:
            QueueFull: as many wait as may, or it would have to wait for too long.
        """
        waiting = [other for other in list(self._calls) if not other.future.done()]
        if len(waiting) >= self._most:
            raise QueueFull(f"{len(waiting)} requests wait already")
        seconds = seconds_before(call, waiting)
        # A single call may be longer than that, and must not shut out the next.
        if len(waiting) > 1 and seconds > self._longest * FIRST_TURNS:
            raise QueueFull(f"{len(waiting)} requests wait already, and {seconds:.1f} s of them go first")

    def take(self, work: InferenceTask, deadline: float = math.inf, *, is_probe: bool = False) -> QueuedRequest:
        """Queues a call.

        Raises:
            QueueFull: as many calls as may wait do so already, or they take too long.
            ShuttingDown: no more are taken.
        """
        call = QueuedRequest(work, deadline, time.monotonic(), is_probe=is_probe)
        self._give_turn(call)
        call.fresh = call.turn
        with self._changed:
            if self._closed:
                raise ShuttingDown("the model actor is shutting down")
            self.check_room(call)
            self._tell([call])
            if len(call.waiting):
                self._calls.append(call)
                self._changed.notify()
        if not len(call.waiting):
            _finish(call)
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
            # Kept from pass to pass: offline work must not slip in while somebody waits.
            with self._engine.device_lock.online():
                while calls := self._waiting():
                    first = self._agenda.next(calls, time.monotonic())
                    try:
                        self._pass(next_pass(self._engine, first, calls, self._quantum))
                    except Exception as error:
                        # Nobody would be answered again without this thread.
                        if first.is_wanted():
                            first.settle(error=error)
                    self._tell(calls)

    def _waiting(self) -> list[QueuedRequest]:
        """The calls that wait for a pass; all others leave."""
        wanted = [call for call in list(self._calls) if call.is_wanted()]
        with self._changed:
            self._calls = [call for call in self._calls if not call.future.done()]
        return wanted

    def _tell(self, calls: Sequence[QueuedRequest]) -> None:
        # A readiness probe every few seconds must not keep offline passes short for ever.
        if not all(call.is_probe for call in calls):
            self._engine.device_lock.arrived()

    def _pass(self, parts: Sequence[Part]) -> None:
        now = time.monotonic()
        for call, _ in parts:
            call.began = now if math.isnan(call.began) else call.began
        try:
            took_place = self._engine.run([Share(call.work, windows) for call, windows in parts], _at_once)
        except Exception as error:
            if len(parts) == 1:
                parts[0].call.settle(error=error)
            else:
                # One of them is to blame, and must fail alone.
                for part in parts:
                    if part.call.is_wanted():
                        self._pass([part])
            return
        # One that was too large for the device is chosen again.
        for call, windows in parts if took_place else ():
            call.had(windows)
            self._give_turn(call)
            if not len(call.waiting):
                _finish(call)

    def _give_turn(self, call: QueuedRequest) -> None:
        if not len(call.waiting):
            return
        lengths, engine = call.lengths[call.waiting], self._engine
        call.turn = call.fresh or engine.windows_within(self._quantum, int(lengths.max()), len(lengths))
        call.turn_seconds = engine.predicted(lengths[: call.turn])
        call.window_seconds = engine.predicted(lengths) / len(lengths)


def _finish(call: QueuedRequest) -> None:
    try:
        call.settle(call.work.results())
    except Exception as error:
        call.settle(error=error)


def _at_once(seconds: float) -> AbstractContextManager[bool]:
    """The turn of a pass of online calls, who have the device already."""
    return nullcontext(True)
