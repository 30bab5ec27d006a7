"""The engine: prepared windows in, answers and embeddings out. Plain Python, no Ray."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from actors.arrays import Floats, Ints, Longs
from actors.backends.base import Backend, ModelOutput, PassOutput, check_outputs
from actors.batch import Batch
from actors.engine.batcher import Batcher, WindowQueue
from actors.engine.collate import stack, stack_weights
from actors.engine.cost_model import PassShape
from actors.engine.device_lock import DeviceLock
from actors.engine.inference_task import InferenceTask, Results, Wanted
from actors.errors import OutOfMemory
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.tokenized import Tokenized

DeviceTurn = Callable[[float], AbstractContextManager[bool]]
"""Waits for the device for a pass of so many predicted seconds; gives False where the pass should be chosen again."""


class Share(NamedTuple):
    """What one call has in a pass."""

    work: InferenceTask
    chosen: Longs
    """Positions of its windows."""


@dataclass(frozen=True)
class Pass:
    """A forward pass that took place."""

    online: bool
    size: PassShape
    tokens: int
    """Without padding."""
    seconds: float
    waited: float
    """Seconds that it waited for the device."""


class Engine:
    """A model with its batcher. Calls from several threads are safe: their passes take turns on the device."""

    def __init__(
        self,
        backend: Backend,
        spec: EncoderSpec,
        batching: BatchingParameters,
        device_lock: DeviceLock | None = None,
        outputs: frozenset[ModelOutput] = frozenset(ModelOutput),
    ) -> None:
        """Takes a loaded model; `actors.models.loading` loads one.

        Args:
            device_lock: who else is on the device; None where nobody is.
            outputs: what the loaded model can give.
        """
        self.spec = spec
        self.device_lock = device_lock or DeviceLock()
        self._backend = backend
        self._outputs = outputs
        limit = backend.memory_limit
        self.batcher = Batcher(batching, None if limit is None else int(limit * batching.memory_share))
        self._learning = threading.Lock()
        self._watcher: Callable[[Pass], None] | None = None

    def watch(self, watcher: Callable[[Pass], None]) -> None:
        """Has somebody told of every pass, in the thread that ran it."""
        self._watcher = watcher

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        return self._backend.hidden_size

    def begin(self, prepared: Tokenized, wanted: Wanted) -> InferenceTask:
        """A call, before its first pass.

        Raises:
            ModelError: something is wanted that the loaded model cannot give.
        """
        check_outputs(wanted.outputs, self._outputs)
        return InferenceTask(prepared, self.spec, wanted, self.hidden_size)

    def answer(self, prepared: Tokenized, qa: QAParameters, embedding: EmbeddingParameters | None = None) -> Results:
        """Answers the rows of a prepared shard; with `embedding`, also embeds the tokens of their passages.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NotANumber: the model computes NaN.
        """
        return self.finish(self.begin(prepared, Wanted(qa, embedding)))

    def embed(self, prepared: Tokenized, embedding: EmbeddingParameters) -> Results:
        """Embeds the rows of a prepared shard.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NotANumber: the model computes NaN.
        """
        return self.finish(self.begin(prepared, Wanted(embedding=embedding)))

    def finish(self, work: InferenceTask) -> Results:
        """Runs all passes of a call in the offline class: each as large as pays, and as short as online work needs.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NotANumber: the model computes NaN.
        """
        schedule = WindowQueue(work.lengths)
        while len(schedule):
            chosen = schedule.peek(self.choose(schedule, self.device_lock.quantum()))
            if self.run([Share(work, chosen)], self.device_lock.offline):
                schedule.drop(len(chosen))
        return work.results()

    def choose(self, schedule: WindowQueue, quantum: float) -> int:
        """Windows of the next pass, predicted to take at most `quantum` seconds, or one."""
        with self._learning:
            return self.batcher.choose(schedule, quantum)

    def windows_within(self, seconds: float, width: int, most: int) -> int:
        """Windows of one width, at most so many and at least one, that a pass is predicted to take so long for."""
        with self._learning:
            each = self.batcher.costs.seconds_each(np.arange(1, most + 1), width)
        return max(int((each <= seconds).sum()), 1)

    def predicted(self, lengths: Ints) -> float:
        """Seconds that a pass over windows of these lengths, [n], is predicted to take; 0 where nothing is known."""
        if not len(lengths):
            return 0.0
        with self._learning:
            seconds = self.batcher.costs.seconds_each(np.array([len(lengths)]), int(lengths.max()))[0]
        return float(seconds) if np.isfinite(seconds) else 0.0

    def run(self, shares: Sequence[Share], turn: DeviceTurn) -> bool:
        """One pass over windows of one or several calls of one kind; each call keeps what is its own.

        Returns:
            False where the pass did not take place, since it was too large or the turn was not given: choose again.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NotANumber: the model computes NaN.
        """
        batches = [share.work.batch(share.chosen) for share in shares]
        weights = [share.work.weigh(share.chosen, batch) for share, batch in zip(shares, batches, strict=True)]
        size = PassShape(sum(b.windows for b in batches), max(b.width for b in batches))
        joined, joined_weights = stack(batches, self.spec.pad_id), stack_weights(weights, size.width)
        output, seconds = self._forward(joined, joined_weights, shares[0].work, size, turn)
        if output is None:
            return False
        first = 0
        for share, batch in zip(shares, batches, strict=True):
            rows = slice(first, first + batch.windows)
            share.work.stats.add_pass(batch, seconds * batch.windows / size.windows)
            share.work.keep(share.chosen, batch, output.part(rows, batch.width))
            first = rows.stop
        return True

    def _forward(
        self, batch: Batch, weights: Floats | None, work: InferenceTask, size: PassShape, turn: DeviceTurn
    ) -> tuple[PassOutput | None, float]:
        asked = time.perf_counter()
        with turn(self._predicted(size)) as granted:
            if not granted:
                return None, 0.0
            started = time.perf_counter()
            try:
                output = self._backend.forward(batch, work.wanted.qa is not None, weights, work.wanted.tokens)
            except OutOfMemory:
                work.stats.out_of_memory += 1
                with self._learning:
                    self.batcher.out_of_memory(size)
                return None, 0.0
            seconds = time.perf_counter() - started
        with self._learning:
            self.batcher.costs.observe(size, seconds, output.peak_bytes)
        if self._watcher is not None:
            online = turn != self.device_lock.offline
            self._watcher(Pass(online, size, int(batch.lengths.sum()), seconds, started - asked))
        return output, seconds

    def _predicted(self, size: PassShape) -> float:
        """Seconds; 0 for a pass that has to be taken as it is: nothing smaller is left, or nothing is known yet."""
        if size.windows == 1:
            return 0.0
        with self._learning:
            seconds = self.batcher.costs.seconds(size)
        return seconds if np.isfinite(seconds) else 0.0
