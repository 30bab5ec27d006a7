"""The client of the model actors over a Ray Serve handle: deadlines, limits, and a retry where a replica dies."""

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError

from actors.serving.gateway.single_flight import SingleFlight
from actors.serving.parameters import LimitParameters
from actors.serving.prometheus import application_metrics
from actors.serving.types import ModelCard, Refusal, Refused, Reply, Request
from actors.tenants import NO_TENANT, TenantWeights
from actors.tokenization.encoder_spec import EncoderSpec

if TYPE_CHECKING:
    from actors.tracing.tracing import Tracing

_TRIES = 2
"""A request at which so many replicas have died is to blame, if nobody else was there the last time."""
MOST_CRASHES = 3
"""What was in hand at so many deaths of replicas, one after the other, is not tried again, whoever was there too."""
_TOGETHER_SECONDS = 0.1
"""Within this time all requests of a replica have learnt of its death."""
_HELD_SECONDS = 1.0
"""A full replica refuses at once. A refusal after this time means that the request waited for a replica to start."""
_RETRY_PAUSE = (0.1, 0.5)
DEATHS = (RayActorError, OutOfMemoryError)
"""What a call raises when its replica has died, or cannot be reached at the moment."""
_PROBE_SECONDS = 5.0
_KEEP_SECONDS = 1.0
"""How long a probe's outcome, and a page of metrics, are given to others too."""
_PROBE = Request("ready", "embed", ("ready",), seconds=_PROBE_SECONDS, is_probe=True, tenant=NO_TENANT)


class HandleClient:
    """A `ModelClient` of the replicas of the model deployment."""

    def __init__(
        self,
        handle: Any,
        limits: LimitParameters,
        tracing: "Tracing | None" = None,
        weights: TenantWeights | None = None,
    ) -> None:
        """Takes a DeploymentHandle of the model's deployment.

        Args:
            tracing: exports a span for every call of a traced request; None exports none.
            weights: of the tenants, between which `limits.max_in_flight` is divided; None for one tenant.
        """
        self._weights = weights or TenantWeights()
        self._tracing = tracing
        self._handle = handle
        self._limits = limits
        self._in_flight: Counter[str] = Counter()
        self._suspects = asyncio.Lock()
        self._died: list[object] = []
        self._ready = SingleFlight(self._probe, _KEEP_SECONDS)
        self._metrics = SingleFlight(application_metrics, _KEEP_SECONDS)
        self._card: ModelCard | None = None
        self._spec: EncoderSpec | None = None

    async def ask(self, request: Request) -> Reply:
        """Has a replica answer the request; where it dies, another one is tried once.

        Raises:
            Refused: too many requests are in flight, the deadline passed, a replica refused, or two replicas died.
        """
        if not self._weights.fits(request.tenant, 1, self._in_flight, self._limits.max_in_flight):
            raise Refused(
                self._later(429, "queue_full", f"{self._in_flight.total()} requests are on their way already")
            )
        self._in_flight[request.tenant] += 1
        try:
            reply = await self._ask_with_retries(request)
        finally:
            self._in_flight[request.tenant] -= 1
        if isinstance(reply, Refusal):
            if reply.status in (429, 503):
                reply = replace(reply, retry_after=self._limits.retry_after_seconds)
            raise Refused(reply)
        return reply

    async def card(self) -> ModelCard:
        """The model that answers; fetched once."""
        if self._card is None:
            self._card = await self._fetch(self._handle.card)
        return self._card

    async def spec(self) -> EncoderSpec:
        """The model's tokenizer and the templates of its windows; fetched once."""
        if self._spec is None:
            self._spec = await self._fetch(self._handle.spec)
        return self._spec

    async def metrics(self) -> str:
        """Metrics of the whole application, from all nodes, not older than a second."""
        return await self._metrics()

    async def ready(self) -> None:
        """Waits until a replica has embedded a word, which is a real forward pass, within the last second or now.

        Anybody may ask, without a key, and as often as they like: so one word is on its way at a time, for all who ask,
        and it is not counted among the requests.
        """
        refusal = await self._ready()
        if refusal is not None:
            raise Refused(refusal)

    async def _probe(self) -> Refusal | None:
        try:
            reply = await self._ask_with_retries(_PROBE)
        except Refused as refused:
            reply = refused.refusal
        # A full queue shows that the service works.
        if isinstance(reply, Reply) or reply.status == 429:
            return None
        return self._later(503, "not_ready", reply.message)

    async def _ask_with_retries(self, request: Request) -> Reply | Refusal:
        until = time.monotonic() + (request.seconds or self._limits.timeout_ms / 1000)
        crashes, was_held = 0, False
        async with AsyncExitStack() as alone:
            while True:
                asked = time.monotonic()
                left = until - asked
                try:
                    reply = await self._ask_once(replace(request, seconds=left), left)
                except ActorUnavailableError:
                    was_held = True
                except DEATHS:
                    crashes += 1
                    if crashes >= MOST_CRASHES or (not await self._others_died() and crashes >= _TRIES):
                        return Refusal(422, "crashed", "model actors died at this request again; it is not tried more")
                    was_held = True
                    # One of the requests in that replica may have killed it. They are tried again one by one: tried
                    # together, all of them would die again with the one that is to blame.
                    if crashes == 1:
                        await self._alone(alone, until)
                    # They have waited already, and others wait for them.
                    continue
                else:
                    was_held |= time.monotonic() - asked >= _HELD_SECONDS
                    if not was_held or not isinstance(reply, Refusal) or reply.status != 429:
                        return reply
                # Requests that waited for a new replica fill it all at once. They are tried again, and not refused.
                await asyncio.sleep(random.uniform(*_RETRY_PAUSE))

    async def _ask_once(self, request: Request, seconds: float) -> Reply | Refusal:
        if self._tracing is None or request.trace is None:
            untraced: Reply | Refusal = await self._call(self._handle.ask, request, seconds=seconds)
            return untraced
        from actors.tracing.tracing import context_of, refuse

        given_up: Refused | None = None
        with self._tracing.span("call replica", request.trace, {}, "client") as span:
            request = replace(request, trace=context_of(span))
            try:
                reply: Reply | Refusal = await self._call(self._handle.ask, request, seconds=seconds)
            except Refused as refused:
                # Its reason says more than its class.
                given_up, reply = refused, refused.refusal
            if isinstance(reply, Refusal):
                refuse(span, reply.status, reply.reason)
        if given_up is not None:
            raise given_up
        return reply

    async def _others_died(self) -> bool:
        """Whether a replica took other requests with it too: any of those may have killed it then."""
        # Not the request's id: clients choose theirs, and two may have the same.
        died, this = self._died, object()
        died.append(this)
        try:
            await asyncio.sleep(_TOGETHER_SECONDS)
            return any(other is not this for other in died)
        finally:
            # Also where the client has hung up meanwhile.
            died.remove(this)

    async def _alone(self, alone: AsyncExitStack, until: float) -> None:
        """Waits until no other request that saw its replica die is in flight; first tries do not wait."""
        try:
            await asyncio.wait_for(self._suspects.acquire(), until - time.monotonic())
        except TimeoutError as late:
            raise Refused(_late()) from late
        alone.callback(self._suspects.release)

    async def _fetch(self, method: Any) -> Any:
        """Calls a method that gives the same on every replica; another replica is tried where one has just died."""
        for _ in range(_TRIES):
            try:
                return await self._call(method, seconds=_PROBE_SECONDS)
            except DEATHS:
                await asyncio.sleep(random.uniform(*_RETRY_PAUSE))
        raise Refused(self._later(503, "not_ready", "no model actor is ready"))

    async def _call(self, method: Any, *args: Any, seconds: float) -> Any:
        response = method.remote(*args)
        try:
            return await asyncio.wait_for(response, seconds)
        except TimeoutError as late:
            raise Refused(_late()) from late
        except BackPressureError as full:
            raise Refused(self._later(429, "queue_full", "the model actors' queues are full")) from full
        except (DeploymentUnavailableError, RequestCancelledError) as gone:
            raise Refused(self._later(503, "not_ready", "no model actor is ready")) from gone
        finally:
            # A request that is given up leaves the replica's queue too. Cancelling a finished call does nothing.
            response.cancel()

    def _later(self, status: int, reason: str, message: str) -> Refusal:
        return Refusal(status, reason, f"{message}; try again later", self._limits.retry_after_seconds)


def _late() -> Refusal:
    return Refusal(504, "deadline", "no model actor answered in time; allow more with X-Request-Timeout-Ms")
