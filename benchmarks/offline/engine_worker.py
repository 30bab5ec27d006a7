"""The engine in a process of its own, without Ray.

    python -m benchmarks.offline.engine_worker MODEL THREADS PRECISION

The model stays; every request gets an engine that has learnt nothing yet. See `peer_worker` for how it is asked.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import transformers

from actors.engine.engine import Engine
from actors.engine.inference_task import Results
from actors.models.loading import load_backend, load_spec
from actors.models.precision import with_precision
from actors.parameters import BatchingParameters, ModelParameters
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from benchmarks.offline.limits import EMBEDDING, QA
from benchmarks.offline.peer_worker import Answer, serve


@dataclass(frozen=True)
class _Timed:
    results: Results
    tokenising: float
    computing: float

    @classmethod
    def of(cls, prepare: Callable[[], Tokenized], compute: Callable[[Tokenized], Results]) -> "_Timed":
        started = time.perf_counter()
        prepared = prepare()
        tokenised = time.perf_counter()
        results = compute(prepared)
        return cls(results, tokenised - started, time.perf_counter() - tokenised)

    @property
    def seconds(self) -> dict[str, float]:
        """From texts to results, from tokens to results, and in the passes."""
        passes = self.results.stats.total.seconds
        return {"texts": self.tokenising + self.computing, "tokens": self.computing, "passes": passes}


class EngineInProcess:
    """Fresh engines over one loaded model."""

    def __init__(self, folder: Path, model: ModelParameters) -> None:
        self._spec = load_spec(folder)
        self._backend = load_backend(folder, model, with_qa_head=True)

    def answer(self, corpus: str) -> Answer:
        """Answers the rows of a Parquet file twice: by a fresh engine, and by the same again.

        Reading the file is not counted. `spans` are start and end of each row's answer.
        """
        engine, rows = self._fresh(), pq.read_table(corpus)
        questions, contexts = (rows[name].combine_chunks() for name in ("question", "context"))
        first, again = (
            _Timed.of(
                lambda: prepare_pairs(self._spec, QA, questions, contexts)[0],
                lambda prepared: engine.answer(prepared, QA),
            )
            for _ in range(2)
        )
        answers = first.results.answers
        assert answers is not None
        spans = np.stack([answers.start, answers.end], axis=1).tolist()
        return {"first": first.seconds, "again": again.seconds, "spans": spans, "batches": _batches(again.results)}

    def embed(self, corpus: str, vectors: str) -> Answer:
        """Embeds the texts of a Parquet file twice, as `answer`; the vectors, [R, D], go to a file of numpy."""
        engine, texts = self._fresh(), pq.read_table(corpus)["text"].combine_chunks()
        first, again = (
            _Timed.of(
                lambda: prepare_texts(self._spec, EMBEDDING, texts)[0],
                lambda prepared: engine.embed(prepared, EMBEDDING),
            )
            for _ in range(2)
        )
        assert first.results.embeddings is not None
        np.save(vectors, first.results.embeddings)
        return {"first": first.seconds, "again": again.seconds}

    def _fresh(self) -> Engine:
        return Engine(self._backend, self._spec, BatchingParameters())


def _batches(results: Results) -> dict[str, float]:
    """Mean windows of a pass, by the length of its longest window."""
    return {str(length): windows for length, windows in results.stats.batch_sizes().items()}


def main(folder: str, threads: str, precision: str) -> None:
    """Loads the model, and serves."""
    given = {"name": folder, "threads": int(threads), "precision": precision, "device": "cpu"}
    model = with_precision(Path(folder), ModelParameters.model_validate(given))
    engine = EngineInProcess(Path(folder), model)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "type": str(model.dtype)}
    serve({"answer": engine.answer, "embed": engine.embed}, versions)


if __name__ == "__main__":
    main(*sys.argv[1:])
