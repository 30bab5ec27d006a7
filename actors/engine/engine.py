"""The engine: runs the forward passes of requests and shards on one model, and returns answers and embeddings."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from actors.arrays import Floats, Ints, Longs
from actors.backends.base import Backend, ModelOutput, PassOutput, check_outputs
from actors.backends.device_errors import device_error
from actors.backends.speed_probe import blank_windows
from actors.batch import Batch
from actors.engine.batcher import Batcher, WindowQueue
from actors.engine.collate import stack, stack_weights
from actors.engine.cost_model import Amount, PassShape, of_one_width
from actors.engine.device_lock import DeviceLock
from actors.engine.inference_task import InferenceTask, Results, Wanted
from actors.engine.pace import Pace
from actors.errors import DeviceLost, NoRoom, OutOfMemory, first_line
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.tokenized import Tokenized

_READ_EVERY = 16
"""Passes after which the device's free memory is read again: it takes some tens of microseconds."""

_PAUSES = (0.05, 0.1, 0.2, 0.4)
"""Seconds before one window is tried again that fitted before: another actor's pass may hold the memory that it needs.
After the last one its task fails, and no other: the device computes all that has room."""
_USUAL_PACE, _TELLING_WORK = 1e-8, 100_000
"""Finding spans: seconds for one that is scored, before that was measured; and the least of a pass that says something
of it, since calls of numpy cost most of a small one."""

DeviceTurn = Callable[[float], AbstractContextManager[bool]]
"""Waits until the device is free for a pass that is predicted to take so many seconds. The context is False, and the
device is not taken, where the pass should be chosen again."""


class Share(NamedTuple):
    """The windows of one task in a pass."""

    task: InferenceTask
    chosen: Longs
    """[n] positions of these windows among those of the task."""


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
    """A model with its batcher. Several threads may call at once: the device runs one pass after the other."""

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
            device_lock: shared with whoever else uses the device; None where nobody does.
            outputs: what the loaded model can give.
        """
        self.spec = spec
        self.device_lock = device_lock or DeviceLock()
        self._backend = backend
        self._outputs = outputs
        self.batcher = Batcher(batching)
        self._learning = threading.Lock()
        self._passes_to_read = 0
        self._decoding_pace = Pace(_USUAL_PACE, seen=_TELLING_WORK)
        self._read_memory_limit()
        self._watcher: Callable[[Pass], None] | None = None
        self._lost: DeviceLost | None = None
        self._when_lost: Callable[[DeviceLost], None] | None = None

    def watch(self, watcher: Callable[[Pass], None]) -> None:
        """Calls `watcher` after every pass, in the thread that ran it."""
        self._watcher = watcher

    def when_lost(self, act: Callable[[DeviceLost], None]) -> None:
        """Calls `act` once, at the moment that the device is lost, in the thread whose pass found it out."""
        self._when_lost = act

    def check_device(self) -> None:
        """Raises DeviceLost where a pass has found the device lost; runs none itself."""
        if self._lost is not None:
            raise DeviceLost(str(self._lost))

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        return self._backend.hidden_size

    def begin(self, prepared: Tokenized, wanted: Wanted) -> InferenceTask:
        """The task of a request or shard, before its first pass.

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
            NoRoom: a window that fitted before has no room now.
            DeviceLost: the device computes nothing any more; every later pass fails with it too.
        """
        return self.finish(self.begin(prepared, Wanted(qa, embedding)))

    def embed(self, prepared: Tokenized, embedding: EmbeddingParameters) -> Results:
        """Embeds the rows of a prepared shard.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NotANumber: the model computes NaN.
            NoRoom: a window that fitted before has no room now.
            DeviceLost: the device computes nothing any more; every later pass fails with it too.
        """
        return self.finish(self.begin(prepared, Wanted(embedding=embedding)))

    def finish(self, task: InferenceTask) -> Results:
        """Runs all passes of a shard. Each is as large as pays, and no longer than the quantum while requests come in.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NotANumber: the model computes NaN.
            NoRoom: a window that fitted before has no room now.
            DeviceLost: the device computes nothing any more; every later pass fails with it too.
        """
        for number, windows in enumerate(task.rounds):
            schedule = self.queue(task.lengths[windows])
            while len(schedule):
                size = self.choose(schedule, self.device_lock.quantum())
                if self.run([Share(task, windows[schedule.peek(size)])], self.device_lock.offline):
                    schedule.drop(size)
                elif task.pause:
                    # Without the device, so that whoever else wants it does not wait too.
                    time.sleep(task.pause)
            task.end_round(number)
        return task.results()

    def queue(self, lengths: Ints) -> WindowQueue:
        """Windows of these lengths, [W], as they wait for passes of this model."""
        return WindowQueue(lengths, self._backend.layout)

    def choose(self, schedule: WindowQueue, quantum: float) -> int:
        """Windows of the next pass, predicted to take at most `quantum` seconds, or one."""
        with self._learning:
            return self.batcher.choose(schedule, quantum)

    def windows_within(self, seconds: float, width: int, most: int, task: InferenceTask | None = None) -> int:
        """How many windows of this width, 1 to `most`, fit a pass that is predicted to take at most so many seconds.

        Args:
            task: whose windows they are; what is done with their results after the pass is counted too.
        """
        windows = np.arange(1, most + 1)
        with self._learning:
            each = self.batcher.costs.seconds_each(*of_one_width(windows, width))
            each = each + self.decoding_seconds(task, windows, width)
        return max(int((each <= seconds).sum()), 1)

    def predicted(self, lengths: Ints, task: InferenceTask | None = None) -> float:
        """Seconds that a pass over windows of these lengths, [n], is predicted to take; 0 where nothing is known.

        Args:
            task: as in `windows_within`.
        """
        if not len(lengths):
            return 0.0
        size = PassShape.of(lengths, self._backend.layout)
        with self._learning:
            seconds = self.batcher.costs.seconds(size) + self.decoding_seconds(task, size.windows, size.width)
        return float(seconds) if np.isfinite(seconds) else 0.0

    def decoding_seconds(self, task: InferenceTask | None, windows: Amount, width: int) -> Any:
        """Seconds that finding the spans of so many windows is predicted to take, after their pass; 0 without a task.

        Args:
            windows: how many, or several such numbers, [N]; the seconds are of the same shape.
        """
        return 0.0 if task is None else self._decoding_pace.seconds_per_unit * task.decoding_work(windows, width)

    def predicted_at_best(self, windows: int, tokens: int, squares: int) -> float:
        """Seconds that windows are predicted to take in passes of the best size that they fill; 0 if nothing is known.

        Args:
            tokens: of all windows, without padding.
            squares: sum of the windows' squared lengths.
        """
        if not windows:
            return 0.0
        with self._learning:
            seconds = self.batcher.costs.seconds_at_best(windows, tokens, squares)
        return seconds if np.isfinite(seconds) else 0.0

    def run(self, shares: Sequence[Share], turn: DeviceTurn) -> bool:
        """Runs one pass over windows of one or several tasks of one kind, and hands each task its own results.

        Returns:
            False where the pass did not run, because it was too large or the device was not granted: choose again, and
            where a window has no room that it had before, after the `pause` of its task.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NotANumber: the model computes NaN.
            NoRoom: a window that fitted before has no room now.
            DeviceLost: the device computes nothing any more; every later pass fails with it too.
        """
        batches = [share.task.batch(share.chosen) for share in shares]
        weights = [share.task.weigh(share.chosen, batch) for share, batch in zip(shares, batches, strict=True)]
        size = PassShape.of(np.concatenate([batch.lengths for batch in batches]), self._backend.layout)
        joined, joined_weights = stack(batches), stack_weights(weights, size.width)
        output, seconds = self._forward(joined, joined_weights, shares[0].task, size, turn)
        if output is None:
            return False
        first = 0
        for share, batch in zip(shares, batches, strict=True):
            rows = slice(first, first + batch.windows)
            share.task.stats.add_pass(batch, self._backend.layout, seconds * batch.windows / size.windows)
            share.task.tries_without_room = 0
            self._keep(share, batch, output.part(rows, batch.width))
            first = rows.stop
        return True

    def _keep(self, share: Share, batch: Batch, output: PassOutput) -> None:
        """Hands a task its results, and learns how long it takes to find the spans among them."""
        began = time.perf_counter()
        share.task.keep(share.chosen, batch, output)
        seconds, work = time.perf_counter() - began, float(share.task.decoding_work(batch.windows, batch.width))
        if work >= _TELLING_WORK:
            with self._learning:
                self._decoding_pace.observe(work, seconds)

    def _forward(
        self, batch: Batch, weights: Floats | None, task: InferenceTask, size: PassShape, turn: DeviceTurn
    ) -> tuple[PassOutput | None, float]:
        asked = time.perf_counter()
        task.pause = 0.0
        with turn(self._predicted(size)) as granted:
            if not granted:
                return None, 0.0
            self.check_device()
            # Here and not while a pass is chosen: another thread's pass may be holding its memory then.
            self._passes_to_read -= 1
            started = time.perf_counter()
            try:
                if self._passes_to_read <= 0:
                    self._read_memory_limit()
                    started = time.perf_counter()
                output = self._backend.forward(batch, task.wanted.qa is not None, weights, task.wanted.tokens)
            except Exception as error:
                if not isinstance(self._judged(error, task.wanted), OutOfMemory):
                    raise
                task.stats.out_of_memory += 1
                self._make_room(size, task, error)
                return None, 0.0
            seconds = time.perf_counter() - started
        with self._learning:
            self.batcher.observe(size, seconds, output.peak_bytes)
        if self._watcher is not None:
            online = turn != self.device_lock.offline
            self._watcher(Pass(online, size, int(batch.lengths.sum()), seconds, started - asked))
        return output, seconds

    def _make_room(self, size: PassShape, task: InferenceTask, error: Exception) -> None:
        """After a pass that did not fit: the next one is smaller, or comes later where nothing is smaller.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NoRoom: it could before, and could not in all the tries that this task has had.
        """
        try:
            self._read_memory_limit()
        except Exception as failed:
            if self._judged(failed, task.wanted) is None:
                raise
        with self._learning:
            smaller_is_left = self.batcher.out_of_memory(size)
        if smaller_is_left:
            return
        if task.tries_without_room == len(_PAUSES):
            raise NoRoom(
                f"a window of {size.width} tokens has no room in the device's memory, where one fitted before: "
                f"{first_line(error)}"
            ) from error
        task.pause = _PAUSES[task.tries_without_room]
        task.tries_without_room += 1

    def _read_memory_limit(self) -> None:
        """Whoever shares the device may have taken or freed memory since it was read last."""
        limit = self._backend.memory_limit
        with self._learning:
            self.batcher.memory_limit = None if limit is None else int(limit * self.batcher.parameters.memory_share)
        self._passes_to_read = _READ_EVERY

    def _judged(self, error: Exception, wanted: Wanted) -> OutOfMemory | None:
        """What to do about a pass that failed: a smaller one where there was no room, none where this is None.

        Raises:
            DeviceLost: it was not the pass, and no other one can succeed.
        """
        found = device_error(error)
        if found is None and not self._can_compute(wanted):
            found = DeviceLost(f"a pass of nothing but padding fails, too: {type(error).__name__}: {first_line(error)}")
        if isinstance(found, DeviceLost):
            self._lose(found, error)
        return found

    def _lose(self, lost: DeviceLost, error: Exception) -> NoReturn:
        self._lost = lost
        if self._when_lost is not None:
            self._when_lost(lost)
        raise DeviceLost(str(lost)) from error

    def _can_compute(self, wanted: Wanted) -> bool:
        """Whether the smallest pass there is succeeds: errors of unknown runtimes have unknown texts."""
        batch = blank_windows(1, 2, self.spec)
        weights = None if wanted.embedding is None else np.ones((1, 2), dtype=np.float32)
        try:
            self._backend.forward(batch, wanted.qa is not None, weights, wanted.tokens)
        except Exception as error:
            return isinstance(device_error(error), OutOfMemory)
        return True

    def _predicted(self, size: PassShape) -> float:
        """Seconds; 0 for a pass that cannot be made smaller, or where no pass has been timed yet."""
        if size.windows == 1:
            return 0.0
        with self._learning:
            seconds = self.batcher.costs.seconds(size)
        return seconds if np.isfinite(seconds) else 0.0
