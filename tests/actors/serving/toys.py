"""A service of one process whose model breaks at certain words: it fails, has no memory, hangs, or dies."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from ray.exceptions import RayActorError

from actors.arrays import Floats
from actors.backends.base import PassOutput
from actors.backends.null import NullBackend
from actors.batch import Batch
from actors.engine.device_lock import DeviceLock
from actors.engine.engine import Engine
from actors.errors import OutOfMemory
from actors.model_actor import ModelActor
from actors.models.hub import find_model
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, ModelParameters, SharingParameters
from actors.scheduling.scheduler import OnlineScheduler
from actors.serving.model_card import describe
from actors.serving.replica.replica import Replica
from actors.serving.types import ModelCard, Refusal, Reply, Request
from actors.tokenization.encoder_spec import EncoderSpec
from tests.actors.serving.helpers import NAME

FAILS, NO_MEMORY, HANGS, NAN, DIES = "zebra", "mango", "violin", "pirate", "volcano"
"""Words of a request that breaks the pass it is in."""
_HANG_SECONDS = 0.2
_SHARING = SharingParameters(queue_ms=60_000)
"""Nobody is refused for being slow, however busy the machine is."""
_LUCKY_PASSES = 50


class ToyBackend(NullBackend):
    """Made-up numbers, and whatever the words of a pass make of it.

    Passes of several windows have bad luck at times, whatever is in them: they fail, or find no memory.
    """

    def __init__(self, hidden_size: int, spec: EncoderSpec, luck: random.Random) -> None:
        super().__init__(hidden_size)
        encode = spec.tokenizer().encode
        self._ids = {
            word: encode(word, add_special_tokens=False).ids[0] for word in (FAILS, NO_MEMORY, HANGS, NAN, DIES)
        }
        self._luck = luck
        self._passes = 0
        self.die: Callable[[], None] = lambda: None

    def forward(
        self, batch: Batch, want_spans: bool, pool_weights: Floats | None, want_hidden: bool = False
    ) -> PassOutput:
        if self._holds(batch, DIES):
            self.die()
        if self._holds(batch, FAILS):
            raise RuntimeError("the kernel failed")
        if self._holds(batch, NO_MEMORY):
            raise OutOfMemory("no room for mangoes")
        if self._holds(batch, HANGS):
            time.sleep(_HANG_SECONDS)
        self._passes += 1
        if batch.windows > 1 and self._passes > _LUCKY_PASSES:
            self._passes = 0
            raise self._luck.choice((RuntimeError("bad luck"), OutOfMemory("others take the memory")))
        output = super().forward(batch, want_spans, pool_weights, want_hidden)
        if self._holds(batch, NAN):
            rows = (batch.input_ids == self._ids[NAN]).any(axis=1)
            for array in (output.start_logits, output.end_logits, output.pooled, output.hidden):
                if array is not None:
                    array[rows] = np.nan
        return output

    def _holds(self, batch: Batch, word: str) -> bool:
        return bool((batch.input_ids == self._ids[word]).any())


class _ToyActor(ModelActor):
    """A model actor that loads nothing."""

    def __init__(self, spec: EncoderSpec, backend: ToyBackend) -> None:
        self.engine = Engine(backend, spec, BatchingParameters(), DeviceLock(_SHARING))
        self.scheduler = OnlineScheduler(self.engine, 0.05, _SHARING.queue_requests, _SHARING.queue_ms / 1000)


class ToyReplicas:
    """Replicas as a handle of Ray Serve gives them: where one dies, its calls do too, and another takes its place."""

    def __init__(self, seed: int = 0) -> None:
        model = ModelParameters(name=NAME)
        folder = find_model(model)
        self._card, self._spec = describe(folder, model), load_spec(folder)
        self._luck = random.Random(seed)
        self._end = threading.Event()
        self.deaths = 0
        self.ask = _Method(self._ask)
        self.card = _Method(self._give_card)
        self.spec = _Method(self._give_spec)
        self._start()

    def close(self) -> None:
        """Lets the threads of the dead go."""
        self._end.set()

    def replica(self) -> Replica:
        """The one that runs."""
        return self._replica

    def _start(self) -> None:
        backend = ToyBackend(self._card.hidden_size, self._spec, self._luck)
        self._replica = Replica(_ToyActor(self._spec, backend), self._card, _SHARING)
        self._died = death = asyncio.Event()

        def die() -> None:
            loop.call_soon_threadsafe(self._bury, death)
            self._end.wait()

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Without an event loop of its caller's nothing dies.
            return
        backend.die = die

    def _bury(self, death: asyncio.Event) -> None:
        if not death.is_set():
            death.set()
            self.deaths += 1
            self._start()

    async def _ask(self, request: Request) -> Reply | Refusal:
        call, death = asyncio.ensure_future(self._replica.ask(request)), asyncio.ensure_future(self._died.wait())
        try:
            await asyncio.wait((call, death), return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                raise RayActorError
            return call.result()
        finally:
            call.cancel()
            death.cancel()

    async def _give_card(self) -> ModelCard:
        return self._card

    async def _give_spec(self) -> EncoderSpec:
        return self._spec


class _Method:
    """A method of a handle."""

    def __init__(self, call: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._call = call

    def remote(self, *arguments: Any) -> "asyncio.Task[Any]":
        return asyncio.get_running_loop().create_task(self._call(*arguments))
