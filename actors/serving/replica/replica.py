"""A replica: a model actor that answers requests. Plain asyncio; Ray Serve hosts it, and so can a test."""

import asyncio
import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from actors.engine.pace import Pace
from actors.errors import DeadlinePassed, DeviceLost, ModelError, NoRoom, NotANumber, QueueFull, WindowTooLarge
from actors.model_actor import ModelActor
from actors.parameters import SharingParameters
from actors.scheduling.request import QueuedRequest
from actors.serving.parameters import LimitParameters
from actors.serving.replica.codec import decode, encode, wanted_by
from actors.serving.replica.column_checks import check_columns, check_kept_size, check_reply_size
from actors.serving.replica.request_trace import RequestTrace
from actors.serving.replica.threads import TOKENISERS, in_thread
from actors.serving.types import ModelCard, Refusal, Refused, Reply, Request, Timing
from actors.tenants import NO_TENANT, TenantWeights
from actors.tokenization.tokenized import Tokenized

if TYPE_CHECKING:
    from actors.tracing.tracing import Tracing

_BUSY = 0.5
_WARM_UP_TEXTS = ("Does the model run?", "Does the model run? " * 100)
"""A short window and a long one: the time of a pass is then interpolated between the two, not extrapolated from one."""
_WARM_UP_ROUNDS = 3
"""The first pass pays for loading code, and the batcher forgets it."""


class Replica:
    """Answers requests: tokenises in threads of its own, and leaves the passes to the scheduler of the model actor."""

    def __init__(
        self,
        actor: ModelActor,
        card: ModelCard,
        sharing: SharingParameters | None = None,
        limits: LimitParameters | None = None,
        tracing: "Tracing | None" = None,
        weights: TenantWeights | None = None,
    ) -> None:
        """Takes a loaded model actor with `sharing`.

        Args:
            sharing: how many requests may be in hand at once, and how long they may wait; None takes the defaults.
            limits: of one request; None takes the defaults.
            tracing: exports spans of the requests that bring a trace; None exports none.
            weights: of the tenants, between which its room is divided; None for one tenant.
        """
        self.actor = actor
        self.card = card
        self._weights = weights or TenantWeights()
        self._in_hand: Counter[str] = Counter()
        sharing = sharing or SharingParameters()
        self._max_requests, self._max_wait = sharing.queue_requests, sharing.queue_ms / 1000
        self._to_tokenise: Counter[str] = Counter()
        self._tokenising = 0
        self._tokenised = Pace(0.0)
        self._limits = limits or LimitParameters()
        self._tracing = tracing
        self._threads = ThreadPoolExecutor(TOKENISERS, thread_name_prefix="tokenise")
        # What takes long for a request that asks for columns holds up no text that is to be tokenised.
        self._opening = ThreadPoolExecutor(1, thread_name_prefix="open-layers")
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="decode-columns")

    async def ask(self, request: Request) -> Reply | Refusal:
        """Answers one request; cancelling the task takes the request out of the queue."""
        trace = RequestTrace.begin(self._tracing, request)
        if trace is None:
            return await self._admit(request)
        with trace:
            outcome = await self._admit(request, trace)
            trace.told(outcome)
        return outcome

    async def _admit(self, request: Request, trace: RequestTrace | None = None) -> Reply | Refusal:
        if request.is_probe:
            # It takes no room from those who have work: whether it may come at all is its gateway's to say.
            return await self._reply_or_refusal(request, trace)
        # Before anything is tokenised: a refusal must cost nothing.
        try:
            self._check_room(request.tenant)
        except QueueFull as full:
            return _queue_full(full)
        self._in_hand[request.tenant] += 1
        try:
            return await self._reply_or_refusal(request, trace)
        finally:
            self._in_hand[request.tenant] -= 1

    @property
    def in_hand(self) -> int:
        """Requests that wait or are computed, probes left out."""
        return self._in_hand.total()

    @property
    def busy(self) -> bool:
        """Whether more than half of the room or of the time is taken; offline work would then hardly get the device."""
        scheduler = self.actor.scheduler
        return self.in_hand > self._max_requests // 2 or (scheduler is not None and scheduler.load > _BUSY)

    def prepare(self, request: Request) -> Tokenized:
        """The windows of a request.

        Raises:
            Refused: a row cannot be cut into windows or is longer than the request allows, or a limit is passed.
            ModelError: the parameters do not fit the model.
        """
        prepared = encode(self.actor.engine.spec, request, self._limits)
        check_kept_size(request, prepared, self.card, self._limits.max_reply_bytes)
        check_reply_size(request, prepared, self.actor.engine.spec, self.card, self._limits.max_reply_bytes)
        return prepared

    def warm_up(self) -> None:
        """Runs real passes, so that the first request does not pay for what happens once.

        Raises:
            ModelError, DeviceLost: the model does not run.
        """
        requests = [Request(id="warm-up", task="embed", texts=(text,)) for text in _WARM_UP_TEXTS]
        if self.card.answers:
            questions = _WARM_UP_TEXTS[:1]
            requests += [Request("warm-up", "answer", texts=(text,), questions=questions) for text in _WARM_UP_TEXTS]
        for request in requests * _WARM_UP_ROUNDS:
            task = self.prepare(request), wanted_by(request)
            self.actor.ask(*task, is_probe=True, tenant=NO_TENANT).future.result()

    def check_alive(self) -> None:
        """Checks what every request needs; costs nothing.

        Raises:
            RuntimeError: the thread of the scheduler has ended, and no request would be answered.
            DeviceLost: the same of the device.
        """
        if self.actor.scheduler is None or not self.actor.scheduler.alive:
            raise RuntimeError("the thread of the online passes is gone")
        self.actor.engine.check_device()

    def _check_room(self, tenant: str) -> None:
        if not self._weights.fits(tenant, 1, self._in_hand, self._max_requests):
            raise QueueFull(f"{self.in_hand} requests wait already")
        pace = self._tokenised.per_unit / TOKENISERS
        seconds = {name: pace * size for name, size in self._to_tokenise.items()}
        if self._tokenising >= TOKENISERS and not self._weights.fits(tenant, 0, seconds, self._max_wait):
            before = sum(seconds.values())
            raise QueueFull(f"{self.in_hand} requests wait already, and {before:.1f} s of tokenising go first")
        if self.actor.scheduler is not None:
            self.actor.scheduler.check_room(tenant)

    async def _reply_or_refusal(self, request: Request, trace: RequestTrace | None) -> Reply | Refusal:
        try:
            return await self._compute(request, trace)
        except Refused as refused:
            return refused.refusal
        except QueueFull as full:
            return _queue_full(full)
        except DeadlinePassed as late:
            return Refusal(504, "deadline", f"{late}; allow more with X-Request-Timeout-Ms, or try again later")
        except WindowTooLarge as large:
            return Refusal(413, "window_too_large", str(large))
        except NoRoom as full:
            return Refusal(503, "no_room", f"{full}; try again later", retry_after=1)
        except DeviceLost as lost:
            return Refusal(503, "device_lost", f"{lost}; try again later, when another model actor runs", retry_after=1)
        except NotANumber as error:
            return Refusal(500, "not_a_number", str(error))
        except ModelError as error:
            return Refusal(422, "invalid", str(error))

    async def _prepare_in_thread(self, request: Request, trace: RequestTrace | None) -> Tokenized:
        size = sum(map(len, request.texts)) + sum(map(len, request.questions))

        def prepare() -> Tokenized:
            began = time.monotonic()
            prepared = self.prepare(request)
            ended = time.monotonic()
            self._tokenised.observe(size, ended - began)
            if trace is not None:
                trace.tokenised(began, ended)
            return prepared

        self._to_tokenise[request.tenant] += size
        self._tokenising += 1
        try:
            return await in_thread(self._threads, prepare)
        finally:
            self._to_tokenise[request.tenant] -= size
            self._tokenising -= 1

    async def _compute(self, request: Request, trace: RequestTrace | None) -> Reply:
        started = time.monotonic()
        if request.task == "answer" and not self.card.answers:
            raise Refused(
                Refusal(422, "no_answers", f"{self.card.name} has no QA head; ask it for embeddings, or serve another")
            )
        check_columns(request, self.card)
        wanted = wanted_by(request)
        if request.is_probe:
            # A word. In a thread it would wait for the long texts of others.
            prepared = self.prepare(request)
        else:
            prepared = await self._prepare_in_thread(request, trace)
            if wanted.needs_layers:
                # The first such requests wait for seconds, and nobody else with them.
                await in_thread(self._opening, self.actor.engine.make_ready, wanted)
        tokenised = time.monotonic()
        left = None if request.seconds is None else request.seconds - (tokenised - started)
        log = None if trace is None else trace.passes
        queued = self.actor.ask(prepared, wanted, left, is_probe=request.is_probe, log=log, tenant=request.tenant)
        if trace is not None:
            trace.queued(queued)
        try:
            results = await asyncio.wrap_future(queued.future)
        except asyncio.CancelledError:
            queued.future.cancel()
            raise
        timing = _timing(queued, started, tokenised)
        if not request.columns.names and not request.columns.probabilities:
            return decode(results, queued.task, timing, request)
        # Many megabytes, maybe.
        return await in_thread(self._decoding, decode, results, queued.task, timing, request)


def _queue_full(full: QueueFull) -> Refusal:
    return Refusal(429, "queue_full", f"{full}; try again later", retry_after=1)


def _timing(queued: QueuedRequest, started: float, tokenised: float) -> Timing:
    # A request without windows has no pass.
    began = tokenised if math.isnan(queued.first_pass_began) else queued.first_pass_began
    tokenise, queue, inference = tokenised - started, began - tokenised, time.monotonic() - began
    return Timing(tokenise * 1000, queue * 1000, inference * 1000)
