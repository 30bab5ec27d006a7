"""The scheduler of online requests: a bounded queue, and a thread that runs their passes on the device."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from actors.arrays import Longs
from actors.backends.base import PassOutput
from actors.engine.engine import Engine
from actors.engine.inference_task import InferenceTask
from actors.engine.passes import PassInFlight, Share
from actors.errors import DeviceLost, ModelError, NoRoom, QueueFull, WindowTooLarge
from actors.scheduling.admission import Admission
from actors.scheduling.coalescing import next_pass
from actors.scheduling.pass_log import PassLog, log_pass
from actors.scheduling.request import QueuedRequest, WindowSizes
from actors.scheduling.tenant_policy import TenantPolicy
from actors.tenants import DEFAULT_TENANT, TenantWeights

_FINAL = (ModelError, WindowTooLarge, NoRoom, DeviceLost)
"""Errors of a request's pass that another try of its own would not mend."""


class OnlineScheduler:
    """Runs online requests pass by pass in one thread; requests that wait at the same time share passes.

    Every pass is chosen when the device is free for it, so that requests which arrived during the last pass are
    considered too. `TenantPolicy` chooses the request that a pass is for, and `next_pass` chooses which windows
    of the others share it. The thread is a daemon, and ends with the process.

    What a pass gave is read in another thread: spans are found there, and the candidates of a request that has had its
    last pass are merged. The device has the next pass meanwhile; that one's results are read after these.
    """

    def __init__(
        self,
        engine: Engine,
        quantum: float,
        max_requests: int,
        max_wait: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        weights: TenantWeights | None = None,
    ) -> None:
        """Starts the thread.

        Args:
            quantum: seconds of device time that one request may bring to a pass; a single window may take longer.
            max_requests: requests that may be queued or in a pass.
            max_wait: seconds that a request may be predicted to wait for others; see `Admission`.
            clock: in seconds; deadlines are by the monotonic clock always.
            weights: of the tenants; None for one tenant.
        """
        weights = weights or TenantWeights()
        self._engine = engine
        self._quantum = quantum
        self._clock = clock
        self._admission = Admission(engine, max_requests, max_wait, weights)
        self._loads: Mapping[str, float] = {}
        self._submitted = threading.Condition()
        self._requests: list[QueuedRequest] = []
        self._policy = TenantPolicy(weights)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._last_read: Future[None] = Future()
        self._last_read.set_result(None)
        self._thread = threading.Thread(target=self._serve, name="online", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Requests that are queued or in a pass."""
        return sum(not request.future.done() for request in self._requests)

    @property
    def alive(self) -> bool:
        """Whether the thread runs; without it no request would ever be answered."""
        return self._thread.is_alive()

    @property
    def load(self) -> float:
        """The predicted wait of a small request behind all that is queued, in parts of the longest that is allowed."""
        return max(self._loads.values(), default=0.0)

    def check_room(self, tenant: str = DEFAULT_TENANT) -> None:
        """Raises QueueFull where even a request of one token would be refused to a tenant; costs next to nothing."""
        if self._loads.get(tenant, 0.0) <= 1:
            return
        waiting = sum(request.tenant == tenant and not request.future.done() for request in list(self._requests))
        if waiting > 1:
            raise QueueFull(f"{waiting} requests wait already, and no other is predicted to have its turn in time")

    def submit(
        self,
        task: InferenceTask,
        deadline: float = math.inf,
        *,
        is_probe: bool = False,
        log: PassLog | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> QueuedRequest:
        """Queues a request; its future holds the results. Whoever waits for them may cancel it.

        Args:
            deadline: by the monotonic clock, in seconds; past it the request is settled with `DeadlinePassed`.
            is_probe: whether it is a readiness probe: it is always taken, and offline passes stay as long as they are.
            log: is told of its passes; None where it is not traced.
            tenant: whose it is.

        Raises:
            QueueFull: the queue is full, or the request would have to wait for too long.
        """
        request = QueuedRequest(task, deadline, self._clock(), is_probe=is_probe, log=log, tenant=tenant)
        self._plan_slice(request)
        request.first_slice_pending = request.slice_windows
        with self._submitted:
            queued = [other for other in self._requests if not other.future.done() and not other.is_probe]
            request.due = self._admission.due(request, queued, request.arrived)
            if not is_probe:
                self._admission.check(request, queued, request.arrived)
                self._loads = self._admission.loads([*queued, request], request.arrived)
            self._note_traffic([request])
            if len(request.pending):
                self._requests.append(request)
                self._submitted.notify()
        if not len(request.pending):
            _settle_with_results(request)
        return request

    def _serve(self) -> None:
        while True:
            with self._submitted:
                self._submitted.wait_for(lambda: any(len(one.pending) for one in self._requests))
            # The device is kept from pass to pass: no offline pass may run while an online request waits.
            with self._engine.device_lock.online():
                self._run_all()
            self._wait_for_room()

    def _run_all(self) -> None:
        """Runs pass after pass until nothing is queued but what waits for room."""
        while requests := [one for one in self._queued() if one.not_before <= time.monotonic()]:
            began = self._clock()
            first = self._policy.next(requests, began)
            is_remainder = not first.first_slice_pending
            try:
                self._run_pass(next_pass(self._engine, first, self._policy.by_urgency(requests), self._quantum))
            except Exception as error:
                # The thread has to survive whatever happens: without it no request would be answered.
                if first.is_wanted():
                    first.settle(error=error)
            if is_remainder:
                self._policy.ran_remainder(first, requests, self._clock() - began)
            self._note_traffic(requests)

    def _wait_for_room(self) -> None:
        """Leaves the device to others until a request that had no room is to be tried again, or another one comes."""
        with self._submitted:
            wanted = [one.not_before for one in self._requests if len(one.pending) and not one.future.done()]
            if wanted and (seconds := min(wanted) - time.monotonic()) > 0:
                self._submitted.wait(seconds)

    def _queued(self) -> list[QueuedRequest]:
        """The requests that wait for a pass; those that are done, cancelled or late leave the queue."""
        wanted = [request for request in list(self._requests) if request.is_wanted()]
        with self._submitted:
            self._requests = [request for request in self._requests if not request.future.done()]
            self._loads = self._admission.loads(self._requests, self._clock())
        return wanted

    def _note_traffic(self, requests: Sequence[QueuedRequest]) -> None:
        # A readiness probe every few seconds must not keep offline passes short for ever.
        if not all(request.is_probe for request in requests):
            self._engine.device_lock.arrived()

    def _run_pass(self, windows: Mapping[QueuedRequest, Longs]) -> None:
        """Runs one pass over these windows; where it fails, one pass for each request.

        A request whose own pass fails has another turn, because that may have been bad luck, and fails the second time.
        """
        began = self._clock()
        for request in windows:
            if math.isnan(request.first_pass_began):
                request.first_pass_began = began
        shares = [Share(request.task, own) for request, own in windows.items()]
        try:
            flight = self._engine.submit(shares, _device_is_held, online=True)
            output = None if flight is None else self._engine.wait(flight)
        except Exception as error:
            log_pass(windows, began, self._clock(), type(error).__name__)
            self._policy.ran(windows)
            if len(windows) == 1:
                (request,) = windows
                if request.has_failed or isinstance(error, _FINAL):
                    request.settle(error=error)
                request.has_failed = True
                return
            # One request is to blame, and must fail alone.
            for request, own in windows.items():
                if request.is_wanted():
                    self._run_pass({request: own})
            return
        # A pass that was too large for the device did not run, and is chosen again.
        if flight is None or output is None:
            if len(windows) == 1:
                (request,) = windows
                request.not_before = time.monotonic() + request.task.pause
            return
        log_pass(windows, began, self._clock())
        self._policy.ran(windows)
        queued = [request for request in list(self._requests) if not request.is_probe]
        before = self._admission.backlog(queued)
        parts = _parts_of(windows)
        for request, own in windows.items():
            request.has_failed = False
            request.complete(own)
        self._read(flight, output, list(windows))
        for request in windows:
            self._plan_slice(request)
        ended = self._clock()
        worked_off = before - self._admission.backlog(queued)
        self._admission.observe(worked_off, ended - began, parts, ended)

    def _read(self, flight: PassInFlight, output: PassOutput, requests: Sequence[QueuedRequest]) -> None:
        """Has what a pass gave read, once what the one before gave was read: passes wait where that takes longer."""
        self._last_read.result()
        finished = [request for request in requests if not len(request.pending)]
        self._last_read = self._reading.submit(self._keep, flight, output, requests, finished)

    def _keep(
        self,
        flight: PassInFlight,
        output: PassOutput,
        requests: Sequence[QueuedRequest],
        finished: Sequence[QueuedRequest],
    ) -> None:
        """Hands requests what a pass gave, and settles those that have all of their results, or cannot have them."""
        try:
            for request, error in zip(requests, self._engine.keep(flight, output), strict=True):
                if error is not None:
                    request.settle(error=error)
            for request in finished:
                _settle_with_results(request)
        except Exception as error:
            # Nobody else would answer them.
            for request in requests:
                request.settle(error=error)
        with self._submitted:
            self._requests = [other for other in self._requests if not other.future.done()]

    def _plan_slice(self, request: QueuedRequest) -> None:
        if not len(request.pending):
            return
        lengths, engine = request.lengths[request.pending], self._engine
        longest, number = int(lengths.max()), len(lengths)
        request.slice_windows = request.first_slice_pending or engine.windows_within(
            self._quantum, longest, number, request.task
        )
        request.slice_seconds = engine.predicted(lengths[: request.slice_windows], request.task)
        request.slice_size = WindowSizes.of(lengths[: request.slice_windows])
        request.slice_decoding = engine.decoding_seconds(request.task, request.slice_windows, longest)
        request.seconds_per_window = engine.predicted(lengths, request.task) / number


def _parts_of(windows: Mapping[QueuedRequest, Longs]) -> dict[str, tuple[float, float]]:
    """By tenant: which part of the windows of a pass are of first slices, and which of remainders."""
    all_windows = sum(map(len, windows.values()))
    parts: dict[str, tuple[float, float]] = {}
    for request, own in windows.items():
        of_first = min(len(own), request.first_slice_pending)
        first, remainders = parts.get(request.tenant, (0.0, 0.0))
        parts[request.tenant] = first + of_first / all_windows, remainders + (len(own) - of_first) / all_windows
    return parts


def _settle_with_results(request: QueuedRequest) -> None:
    if request.future.done():
        return
    try:
        request.settle(request.task.results())
    except Exception as error:
        request.settle(error=error)


def _device_is_held(seconds: float, is_least: bool) -> AbstractContextManager[bool]:
    """Waits for nothing: the thread of the scheduler holds the device already."""
    return nullcontext(True)
