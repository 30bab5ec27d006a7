"""From a gateway to the model actors, through a Ray Serve handle: one retry where a replica dies, deadlines, limits."""

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError

from actors.serving.http_metrics import application_metrics
from actors.serving.parameters import LimitParameters
from actors.serving.types import ModelCard, Refusal, Refused, Reply, Request
from actors.tokenization.encoder_spec import EncoderSpec

_TRIES = 2
_HELD_SECONDS = 1.0
"""Of a request that is refused only then: it waited for a replica, since a full one refuses at once."""
_AGAIN_SECONDS = (0.1, 0.5)
DEATHS = (RayActorError, OutOfMemoryError)
"""What a call raises whose replica has died, or cannot be reached for the moment."""
_PROBE_SECONDS = 5.0
_PROBE = Request(id="ready", task="embed", texts=("ready",), seconds=_PROBE_SECONDS, is_probe=True)


class HandleClient:
    """Asks the replicas of the model deployment."""

    def __init__(self, handle: Any, limits: LimitParameters) -> None:
        """Takes a DeploymentHandle of `service.MODEL`."""
        self._handle = handle
        self._limits = limits
        self._in_flight = 0
        self._suspects = asyncio.Lock()
        self._card: ModelCard | None = None
        self._spec: EncoderSpec | None = None

    async def ask(self, request: Request) -> Reply:
        """Asks a replica, and once more another where that one dies.

        Raises:
            Refused: too many requests are on their way, the deadline passed, a replica refused, or two died of it.
        """
        if self._in_flight >= self._limits.max_in_flight:
            raise Refused(self._later(429, "queue_full", f"{self._in_flight} requests are on their way already"))
        self._in_flight += 1
        try:
            reply = await self._tried(request)
        finally:
            self._in_flight -= 1
        if isinstance(reply, Refusal):
            if reply.status in (429, 503):
                reply = replace(reply, retry_after=self._limits.retry_after_seconds)
            raise Refused(reply)
        return reply

    async def card(self) -> ModelCard:
        """The model that answers; asked for once."""
        if self._card is None:
            self._card = await self._told(self._handle.card)
        return self._card

    async def spec(self) -> EncoderSpec:
        """The model's tokenizer and frames; asked for once."""
        if self._spec is None:
            self._spec = await self._told(self._handle.spec)
        return self._spec

    async def metrics(self) -> str:
        """Metrics of all nodes that run a part of the application."""
        return await application_metrics()

    async def ready(self) -> None:
        """Waits for a forward pass of its own."""
        try:
            await self.ask(_PROBE)
        except Refused as refused:
            # A full queue is the sign of a service that works.
            if refused.refusal.status != 429:
                raise Refused(self._later(503, "not_ready", refused.refusal.message)) from refused

    async def _tried(self, request: Request) -> Reply | Refusal:
        until = time.monotonic() + (request.seconds or self._limits.timeout_ms / 1000)
        crashes, was_held = 0, False
        async with AsyncExitStack() as alone:
            while True:
                asked = time.monotonic()
                left = until - asked
                try:
                    reply: Reply | Refusal = await self._within(
                        self._handle.ask, replace(request, seconds=left), seconds=left
                    )
                except ActorUnavailableError:
                    was_held = True
                except DEATHS:
                    crashes += 1
                    if crashes == _TRIES:
                        return Refusal(422, "crashed", "the model actor died twice at this request; not tried again")
                    was_held = True
                    # Of all that were in its hands one may be to blame: were they tried together, all would seem so.
                    await self._alone(alone, until)
                else:
                    was_held |= time.monotonic() - asked >= _HELD_SECONDS
                    if not was_held or not isinstance(reply, Refusal) or reply.status != 429:
                        return reply
                # What piled up while a replica was replaced comes all at once: those who were let in are not sent away.
                await asyncio.sleep(random.uniform(*_AGAIN_SECONDS))

    async def _alone(self, alone: AsyncExitStack, until: float) -> None:
        """Waits until no other suspect is on its way; those who come for the first time do not wait."""
        try:
            await asyncio.wait_for(self._suspects.acquire(), until - time.monotonic())
        except TimeoutError as late:
            raise Refused(_late()) from late
        alone.callback(self._suspects.release)

    async def _told(self, method: Any) -> Any:
        """What any replica knows; another is asked where one has just died."""
        for _ in range(_TRIES):
            try:
                return await self._within(method, seconds=_PROBE_SECONDS)
            except DEATHS:
                await asyncio.sleep(random.uniform(*_AGAIN_SECONDS))
        raise Refused(self._later(503, "not_ready", "no model actor is ready"))

    async def _within(self, method: Any, *args: Any, seconds: float) -> Any:
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
            # Whoever does not wait any more leaves the replica's queue too; nothing happens to what is done.
            response.cancel()

    def _later(self, status: int, reason: str, message: str) -> Refusal:
        return Refusal(status, reason, f"{message}; try again later", self._limits.retry_after_seconds)


def _late() -> Refusal:
    return Refusal(504, "deadline", "no model actor answered in time; allow more with X-Request-Timeout-Ms")
