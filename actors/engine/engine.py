"""The engine: runs the forward passes of requests and shards on one model, and returns answers and embeddings."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from actors.arrays import Ints, Longs, stack_by_token
from actors.backends.base import Backend, GivesLayers, ModelOutput, PassOutput, PassRequest, check_outputs
from actors.backends.layer_output import LayerRequest, ModelDepth
from actors.batch import Batch
from actors.candidates import SpanSearch
from actors.engine.batcher import Batcher, WindowQueue
from actors.engine.collate import stack
from actors.engine.cost_model import Amount, PassShape, of_one_width
from actors.engine.device_lock import DeviceLock
from actors.engine.device_watch import DeviceWatch
from actors.engine.inference_task import InferenceTask, Results, Wanted
from actors.engine.pace import Pace
from actors.engine.passes import Pass, PassInFlight, Share, rows_of
from actors.errors import DeviceLost, ModelError, NoRoom, OutOfMemory, WindowTooLarge, first_line
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.tokenized import Tokenized

_READ_EVERY = 16
"""Passes after which the device's free memory is read again: it takes some tens of microseconds."""

_PAUSES = (0.05, 0.1, 0.2, 0.4)
"""Seconds before one window is tried again that fitted before: another actor's pass may hold the memory that it needs.
After the last one its task fails, and no other: the device computes all that has room."""
_WEIGHT_BYTES = 4
_IN_FLIGHT = 2
"""Passes of one shard that the device has at a time: it begins the second while the results of the first are read."""
_USUAL_PACE, _TELLING_WORK = 1e-8, 100_000
"""Finding spans: seconds for one that is scored, before that was measured; and the least of a pass that says something
of it, since calls of numpy cost most of a small one."""

DeviceTurn = Callable[[float, bool], AbstractContextManager[bool]]
"""Waits until the device is free for a pass that is predicted to take so many seconds; the second argument says that
none can be smaller. The context is False, and the device is not taken, where the pass should be chosen again."""


@dataclass(frozen=True)
class Lane:
    """Passes of one kind, whose costs are learnt apart from others': the usual ones, or those that give layers."""

    backend: Backend
    batcher: Batcher


def check_layers(wanted: Wanted, layers: int) -> None:
    """Raises ModelError where a layer is wanted that a model of this many does not have."""
    vectors, attention = wanted.token_vectors, wanted.attention
    for key, numbers, least in (
        ("token_vectors.layers", None if vectors is None else vectors.numbers, 0),
        ("attention.layers", None if attention is None else attention.layers, 1),
    ):
        missing = [number for number in numbers or () if number > layers]
        if missing:
            raise ModelError(
                f"{key} names layer {missing[0]}, and the model has {layers}; name layers from {least} to {layers}"
            )


class Engine:
    """A model with its batcher. Several threads may call at once: the device runs one pass after the other.

    A pass has three parts: `submit` hands it to the device, `wait` returns once the device is done with it, and `keep`
    finds the spans in what came back. While one pass is in the last part, the device computes the next.
    """

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
        """Of the usual passes."""
        self._with_layers: Lane | None = None
        self._opening = threading.Lock()
        self._learning = threading.Lock()
        self._submitting = threading.RLock()
        self._device = DeviceWatch(backend, spec, self._submitting)
        self._passes_to_read = 0
        self._most_memory = 0
        """The most that was ever free for a pass, which may be more than is free beside passes that run."""
        self._device_finds_spans = False
        self._decoding_pace = Pace(_USUAL_PACE, seen=_TELLING_WORK)
        self._read_memory_limit()
        self._watcher: Callable[[Pass], None] | None = None

    def watch(self, watcher: Callable[[Pass], None]) -> None:
        """Calls `watcher` after every pass, in the thread that ran it."""
        self._watcher = watcher

    def when_lost(self, act: Callable[[DeviceLost], None]) -> None:
        """Calls `act` once, at the moment that the device is lost, in the thread whose pass found it out."""
        self._device.when_lost(act)

    def check_device(self) -> None:
        """Raises DeviceLost where a pass has found the device lost; runs none itself."""
        self._device.check()

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        return self._backend.hidden_size

    def begin(self, prepared: Tokenized, wanted: Wanted) -> InferenceTask:
        """The task of a request or shard, before its first pass.

        Raises:
            ModelError: something is wanted that the loaded model cannot give.
            WindowTooLarge: the attention of its longest window has no room in the device's memory.
            NoRoom: it has none now, and would have had some before.
        """
        depth = self.make_ready(wanted)
        task = InferenceTask(prepared, self.spec, wanted, self.hidden_size, depth)
        if depth is not None and ModelOutput.ATTENTION in wanted.outputs and len(task.lengths):
            self._check_room(int(task.lengths.max()), depth)
        return task

    def _check_room(self, longest: int, depth: ModelDepth) -> None:
        """Raises WindowTooLarge or NoRoom where the attention of a window of so many tokens, which a pass holds for all
        layers at once, cannot fit: the kernel ends a process that tries it in the memory of the host.
        """
        needed, limit = depth.layers * depth.heads * longest**2 * _WEIGHT_BYTES, self._backend.memory_limit
        share = self.batcher.parameters.memory_share
        if limit is None or needed <= limit * share:
            return
        takes = f"the attention of a window of {longest} tokens takes {needed >> 20:,} MiB in {depth.layers} layers"
        if needed <= self._most_memory * share:
            # A pass in flight or another process holds the rest, and the window is not to blame.
            raise NoRoom(f"{takes}, and {limit >> 20:,} of the device's memory are free now")
        raise WindowTooLarge(
            f"{takes}, and the device has {limit >> 20:,}; lower max_seq_len, or leave attention and attribution out"
        )

    def make_ready(self, wanted: Wanted) -> ModelDepth | None:
        """Has the model ready for what is wanted. That takes seconds where layers are wanted for the first time.

        Returns:
            Its layers and heads, where layers are wanted.

        Raises:
            ModelError: something is wanted that the loaded model cannot give.
        """
        check_outputs(wanted.outputs, self._outputs)
        return self._layers_ready(wanted) if wanted.needs_layers else None

    def _layers_ready(self, wanted: Wanted) -> ModelDepth:
        """Has the model ready for passes that tell what goes on in its layers; the first call makes them possible."""
        if not isinstance(self._backend, GivesLayers):
            check_outputs(wanted.outputs, self._outputs - {ModelOutput.ALL_HIDDEN, ModelOutput.ATTENTION})
            raise ModelError("the runtime says that it gives hidden states and attention, and does not")
        depth = self._backend.depth
        check_layers(wanted, depth.layers)
        with self._opening:
            if self._with_layers is None:
                self._with_layers = Lane(self._backend.with_layers(), Batcher(self.batcher.parameters))
                self._read_memory_limit()
        return depth

    def _lane(self, task: InferenceTask | None) -> "Lane":
        """The passes that a task takes; the usual ones without a task."""
        if task is not None and task.wanted.needs_layers and self._with_layers is not None:
            return self._with_layers
        return Lane(self._backend, self.batcher)

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
        rounds = deque(task.rounds)
        while rounds:
            left = self._run_while_there_is_room(task, rounds)
            if len(left):
                rounds.appendleft(left)
            if task.pause:
                # Without the device, so that whoever else wants it does not wait too.
                time.sleep(task.pause)
        return task.results()

    def _run_while_there_is_room(self, task: InferenceTask, rounds: deque[Longs]) -> Longs:
        """Runs passes over the windows of rounds, which it takes one after the other; those that are left of one round
        where a pass had no room.
        """
        windows, in_flight, left = np.zeros(0, dtype=np.int64), deque[PassInFlight](), list[Longs]()
        schedule = self.queue(task.lengths[windows], task)
        # Whether the device may take another pass; it may have refused one, until those that it has are over.
        takes_more = True
        try:
            while in_flight or ((len(schedule) or rounds) and not left):
                if not len(schedule) and rounds and not left:
                    windows = rounds.popleft()
                    schedule = self.queue(task.lengths[windows], task)
                is_wanted = len(schedule) > 0 and not left
                if is_wanted and (not in_flight or (takes_more and self._takes_another(in_flight))):
                    takes_more = self._submit_next(task, windows, schedule, in_flight, waits=not in_flight)
                elif in_flight:
                    done = in_flight.popleft()
                    output, takes_more = self.wait(done), True
                    if output is None:
                        left.append(done.shares[0].chosen)
                        continue
                    if is_wanted and len(in_flight) < _IN_FLIGHT:
                        # Before the results are read, which the device does not wait for.
                        takes_more = self._submit_next(task, windows, schedule, in_flight, waits=False)
                    _raise_first(self.keep(done, output))
                    task.merge_complete()
        finally:
            for abandoned in in_flight:
                self._abandon(abandoned)
        return np.concatenate([*left, windows[schedule.peek(len(schedule))]])

    def _submit_next(
        self, task: InferenceTask, windows: Longs, schedule: WindowQueue, in_flight: deque[PassInFlight], waits: bool
    ) -> bool:
        """Submits the next pass of a schedule; False where the device does not take it now."""
        size = self.choose(schedule, self.device_lock.longest_pass(), task)
        size = task.windows_of_pass(windows[schedule.peek(size)])
        turn = partial(self.device_lock.offline, waits=waits)
        submitted = self.submit([Share(task, windows[schedule.peek(size)])], turn)
        if submitted is None:
            return False
        schedule.drop(size)
        in_flight.append(submitted)
        return True

    def _takes_another(self, in_flight: Sequence[PassInFlight]) -> bool:
        """Whether the device is to have another pass before the first of these is over.

        What that one tells helps to choose the next, and no pass is made for a device without room.
        """
        return len(in_flight) < _IN_FLIGHT and not in_flight[0].submitted.is_done and self.device_lock.has_room

    def queue(self, lengths: Ints, task: InferenceTask | None = None) -> WindowQueue:
        """Windows of these lengths, [W], as they wait for passes of this model, of a task's kind."""
        return WindowQueue(lengths, self._lane(task).backend.layout)

    def choose(self, schedule: WindowQueue, quantum: float, task: InferenceTask | None = None) -> int:
        """Windows of the next pass, predicted to take at most `quantum` seconds, or one."""
        with self._learning:
            return self._lane(task).batcher.choose(schedule, quantum)

    def windows_within(self, seconds: float, width: int, most: int, task: InferenceTask | None = None) -> int:
        """How many windows of this width, 1 to `most`, fit a pass that is predicted to take at most so many seconds.

        Args:
            task: whose windows they are; what is done with their results after the pass is counted too.
        """
        windows = np.arange(1, most + 1)
        with self._learning:
            each = self._lane(task).batcher.costs.seconds_each(*of_one_width(windows, width))
            each = each + self.decoding_seconds(task, windows, width)
        return max(int((each <= seconds).sum()), 1)

    def predicted(self, lengths: Ints, task: InferenceTask | None = None) -> float:
        """Seconds that a pass over windows of these lengths, [n], is predicted to take; 0 where nothing is known.

        Args:
            task: as in `windows_within`.
        """
        if not len(lengths):
            return 0.0
        lane = self._lane(task)
        size = PassShape.of(lengths, lane.backend.layout)
        with self._learning:
            seconds = lane.batcher.costs.seconds(size) + self.decoding_seconds(task, size.windows, size.width)
        return float(seconds) if np.isfinite(seconds) else 0.0

    def decoding_seconds(self, task: InferenceTask | None, windows: Amount, width: int) -> Any:
        """Seconds that finding the spans of so many windows is predicted to take, after their pass; 0 without a task.

        Args:
            windows: how many, or several such numbers, [N]; the seconds are of the same shape.
        """
        if task is None or self._device_finds_spans or task.wanted.attribution:
            # A pass that gives attribution has to find the spans itself.
            return 0.0
        return self._decoding_pace.per_unit * task.decoding_work(windows, width)

    def predicted_at_best(self, windows: int, tokens: int, squares: int, task: InferenceTask | None = None) -> float:
        """Seconds that windows are predicted to take in passes of the best size that they fill; 0 if nothing is known.

        Args:
            tokens: of all windows, without padding.
            squares: sum of the windows' squared lengths.
            task: of whose kind the passes are.
        """
        if not windows:
            return 0.0
        with self._learning:
            seconds = self._lane(task).batcher.costs.seconds_at_best(windows, tokens, squares)
        return seconds if np.isfinite(seconds) else 0.0

    def submit(self, shares: Sequence[Share], turn: DeviceTurn, *, online: bool = False) -> PassInFlight | None:
        """Hands the device a pass over windows of one or several tasks of one kind, for `wait`, which has to follow.

        Returns:
            None where the device was not granted: choose again.

        Raises:
            DeviceLost: the device computes nothing any more; every later pass fails with it too.
        """
        batches = tuple(share.task.batch(share.chosen) for share in shares)
        task = shares[0].task
        lane = self._lane(task)
        size = PassShape.of(np.concatenate([batch.lengths for batch in batches]), lane.backend.layout)
        request = self._request(shares, batches, size.width)
        task.pause = 0.0
        asked = time.perf_counter()
        with ExitStack() as stack:
            if not stack.enter_context(turn(self._predicted(size, lane), size.windows == 1)):
                return None
            waited = time.perf_counter() - asked
            with self._submitting:
                self.check_device()
                # Not while a pass is chosen, which is done many more times. A pass that runs may hold some of it.
                self._passes_to_read -= 1
                if self._passes_to_read <= 0:
                    self._try_to_read_memory_limit(task.wanted)
                submitted = lane.backend.submit(request)
            return PassInFlight(tuple(shares), batches, size, online, waited, submitted, stack.pop_all())

    def _request(self, shares: Sequence[Share], batches: Sequence[Batch], width: int) -> PassRequest:
        wanted, searches = shares[0].task.wanted, list[SpanSearch]()
        needs = wanted.outputs
        for share, rows in zip(shares, rows_of(batches), strict=True):
            searches += share.task.search(rows)
        parts = [(share.task, share.chosen, batch) for share, batch in zip(shares, batches, strict=True)]
        # Tasks of one kind: all of them have such an array, or none has.
        weights = [one for task, chosen, batch in parts if (one := task.weigh(chosen, batch)) is not None]
        counted = [flags for task, chosen, batch in parts if (flags := task.max_tokens(chosen, batch)) is not None]
        layers = [asked for task, chosen, batch in parts if (asked := task.layer_request(chosen, batch)) is not None]
        return PassRequest(
            batch=stack(batches),
            want_spans=ModelOutput.LOGITS in needs,
            pool_weights=stack_by_token(weights, width) if weights else None,
            want_hidden=wanted.gives_states,
            searches=tuple(searches),
            max_tokens=stack_by_token(counted, width) if counted else None,
            layers=LayerRequest.stacked(layers, width),
            want_logits=wanted.probabilities,
        )

    def wait(self, flight: PassInFlight) -> PassOutput | None:
        """Waits until the device is done with a pass, and leaves the device to the next; what came back is for `keep`.

        Returns:
            None where the pass did not fit: choose a smaller one, and where a window has no room that it had before,
            after the `pause` of its task.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NoRoom: a window that fitted before has no room now.
            DeviceLost: the device computes nothing any more; every later pass fails with it too.
        """
        with flight.turn:
            try:
                output = flight.submitted.collect()
            except Exception as error:
                if not isinstance(self._device.judged(error, flight.task.wanted), OutOfMemory):
                    raise
                flight.task.stats.out_of_memory += 1
                self._make_room(flight.size, flight.task, error)
                return None
        lane = self._lane(flight.task)
        with self._learning:
            lane.batcher.observe(flight.size, output.seconds, output.peak_bytes)
        for share, batch in zip(flight.shares, flight.batches, strict=True):
            part_of_pass = batch.windows / flight.size.windows
            share.task.stats.add_pass(batch, lane.backend.layout, output.seconds * part_of_pass)
            share.task.tries_without_room = 0
        if self._watcher is not None:
            self._watcher(Pass(flight.online, flight.size, flight.tokens, output.seconds, flight.waited))
        return output

    def keep(self, flight: PassInFlight, output: PassOutput) -> list[Exception | None]:
        """Hands each task its own results of a pass, and learns how long it takes to find the spans among them.

        Returns:
            For each share what went wrong with it: NotANumber where the model computes NaN; None where all is well.
        """
        return [self._keep(share, batch, part) for share, batch, part in flight.parts(output)]

    def _abandon(self, flight: PassInFlight) -> None:
        """Waits for a pass whose results nobody wants any more."""
        with flight.turn, suppress(Exception):
            flight.submitted.collect()

    def _keep(self, share: Share, batch: Batch, output: PassOutput) -> Exception | None:
        began = time.perf_counter()
        try:
            share.task.keep(share.chosen, batch, output)
        except Exception as error:
            return error
        if output.candidates is not None:
            # Its time is part of the pass's. Passes that give layers may find spans where the usual ones do not.
            self._device_finds_spans = self._device_finds_spans or not share.task.wanted.needs_layers
            return None
        seconds, work = time.perf_counter() - began, float(share.task.decoding_work(batch.windows, batch.width))
        if work >= _TELLING_WORK:
            with self._learning:
                self._decoding_pace.observe(work, seconds)
        return None

    def _try_to_read_memory_limit(self, wanted: Wanted) -> None:
        try:
            self._read_memory_limit()
        except Exception as failed:
            if self._device.judged(failed, wanted) is None:
                raise

    def _make_room(self, size: PassShape, task: InferenceTask, error: Exception) -> None:
        """After a pass that did not fit: the next one is smaller, or comes later where nothing is smaller.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            NoRoom: it could before, and could not in all the tries that this task has had.
        """
        self._try_to_read_memory_limit(task.wanted)
        with self._learning:
            smaller_is_left = self._lane(task).batcher.out_of_memory(size)
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
        share = self.batcher.parameters.memory_share
        with self._learning:
            for batcher in (self.batcher, *([] if self._with_layers is None else [self._with_layers.batcher])):
                batcher.memory_limit = None if limit is None else int(limit * share)
            self._most_memory = max(self._most_memory, limit or 0)
        self._passes_to_read = _READ_EVERY

    def _predicted(self, size: PassShape, lane: "Lane") -> float:
        """Seconds; 0 where no pass has been timed yet."""
        with self._learning:
            seconds = lane.batcher.costs.seconds(size)
        return seconds if np.isfinite(seconds) else 0.0


def _raise_first(errors: Sequence[Exception | None]) -> None:
    error = next(filter(None, errors), None)
    if error is not None:
        raise error
