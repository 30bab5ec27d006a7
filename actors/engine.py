"""The engine: prepared windows in, answers and embeddings out. Plain Python, no Ray."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from actors.answers import Answers, read_answers
from actors.backends.protocol import Backend, PassOutput
from actors.batching import Batcher, Schedule
from actors.collate import Batch, Floats, collate
from actors.costs import Size
from actors.errors import ModelError, OutOfMemory
from actors.layout import EncoderSpec, Frame
from actors.parameters import BatchingParameters, EmbeddingParameters, QAParameters
from actors.pooling import Pooling, embed_owners
from actors.prepared import Prepared
from actors.spans import Candidates, best_spans, candidates_wanted
from actors.stats import PassStats
from actors.tokens import Longs

_NOT_A_NUMBER = "the model computes NaN; try model.dtype: float32 or bfloat16"


@dataclass(frozen=True)
class Results:
    """What the rows of a prepared shard get."""

    answers: Answers | None
    """None in an embedding job."""
    embeddings: npt.NDArray[np.float32] | None
    """[R, D]; None when none was asked for."""
    stats: PassStats


class Engine:
    """A model with its batcher. Calls from several threads are safe: their passes take turns on the device."""

    def __init__(self, backend: Backend, spec: EncoderSpec, batching: BatchingParameters) -> None:
        """Takes a loaded model; `actors.loading` loads one."""
        self.spec = spec
        self._backend = backend
        limit = backend.memory_limit
        self.batcher = Batcher(batching, None if limit is None else int(limit * batching.memory_share))
        self._learning = threading.Lock()
        self._device = threading.Lock()

    @property
    def hidden_size(self) -> int:
        """D, the width of an embedding."""
        return self._backend.hidden_size

    def answer(self, prepared: Prepared, qa: QAParameters, embedding: EmbeddingParameters | None = None) -> Results:
        """Answers the rows of a prepared shard; with `embedding`, also embeds the tokens of their passages.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            ModelError: the model computes NaN.
        """
        k = candidates_wanted(qa.top_k, qa.align_to_words)
        candidates = Candidates.empty(len(prepared.windows), k)
        pooled = None if embedding is None else _Pooled(prepared, embedding, self.hidden_size, beside_answers=True)
        stats = PassStats()
        for chosen, batch, output in self._passes(prepared, self.spec.pair, True, pooled, stats):
            candidates.put(chosen, _spans_of(output, batch, k, qa.max_answer_len))
        embeddings = None if pooled is None else pooled.join()
        return Results(read_answers(prepared, candidates, qa), embeddings, stats)

    def embed(self, prepared: Prepared, embedding: EmbeddingParameters) -> Results:
        """Embeds the rows of a prepared shard.

        Raises:
            WindowTooLarge: the device cannot hold even one window.
            ModelError: the model computes NaN.
        """
        pooled = _Pooled(prepared, embedding, self.hidden_size, beside_answers=False)
        stats = PassStats()
        for _ in self._passes(prepared, self.spec.single, False, pooled, stats):
            pass
        return Results(None, pooled.join(), stats)

    def _passes(
        self, prepared: Prepared, frame: Frame, want_spans: bool, pooled: "_Pooled | None", stats: PassStats
    ) -> Iterator[tuple[Longs, Batch, PassOutput]]:
        schedule = Schedule(prepared.lengths(frame.specials))
        while len(schedule):
            with self._learning:
                chosen = schedule.peek(self.batcher.choose(schedule))
            batch = collate(prepared, frame, chosen, self.spec.pad_id, self.spec.uses_type_ids)
            weights = None if pooled is None else pooled.weigh(chosen, batch)
            size = Size(batch.windows, batch.width)
            try:
                with self._device:
                    started = time.perf_counter()
                    output = self._backend.forward(batch, want_spans, weights)
                    seconds = time.perf_counter() - started
            except OutOfMemory:
                stats.out_of_memory += 1
                with self._learning:
                    self.batcher.out_of_memory(size)
                continue
            with self._learning:
                self.batcher.costs.observe(size, seconds, output.peak_bytes)
            schedule.drop(batch.windows)
            stats.add_pass(batch, seconds)
            if pooled is not None and output.pooled is not None:
                pooled.keep(chosen, output.pooled)
            yield chosen, batch, output


class _Pooled:
    """Collects the pooled vectors of a shard's windows."""

    def __init__(
        self, prepared: Prepared, embedding: EmbeddingParameters, hidden_size: int, beside_answers: bool
    ) -> None:
        self._prepared = prepared
        self._normalize = embedding.normalize
        self._pooling = Pooling.plan(prepared, embedding, beside_answers)
        self._sums = np.zeros((len(prepared.windows), hidden_size), dtype=np.float32)
        self._weights = np.zeros(len(prepared.windows), dtype=np.float32)

    def weigh(self, chosen: Longs, batch: Batch) -> Floats:
        weights = self._pooling.weights(self._prepared, chosen, batch)
        self._weights[chosen] = weights.sum(axis=1)
        return weights

    def keep(self, chosen: Longs, sums: Floats) -> None:
        if not np.isfinite(sums).all():
            raise ModelError(_NOT_A_NUMBER)
        self._sums[chosen] = sums

    def join(self) -> npt.NDArray[np.float32]:
        vectors = embed_owners(self._prepared, self._sums, self._weights, self._normalize)
        return vectors[self._prepared.row_owner]


def _spans_of(output: PassOutput, batch: Batch, k: int, max_answer_len: int) -> Candidates:
    if output.start_logits is None or output.end_logits is None:
        raise ModelError("the backend returned no logits")
    found = best_spans(output.start_logits, output.end_logits, batch, k, max_answer_len)
    if (found.start[:, 0] < 0).any():
        raise ModelError(_NOT_A_NUMBER)
    return found
