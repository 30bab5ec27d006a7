"""The engine without Ray, with one runtime in one precision; and what the plots ask it for."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actors.backends.base import find_runtime
from actors.engine.cost_model import CostModel
from actors.engine.engine import Engine
from actors.engine.inference_task import Results
from actors.engine.passes import Pass
from actors.models.loading import load_backend, load_spec
from actors.models.precision import with_precision
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.tokenization.preprocess import Rejected, prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from pipelines.bench.arithmetic import Shape

Rows = dict[str, list[str]]


@dataclass(frozen=True)
class TimedPass:
    """A pass, and what was predicted of it before."""

    windows: int
    tokens: int
    predicted: float
    """Seconds."""
    seconds: float


class PassLog:
    """The passes of an engine, each with what a cost model predicts that has seen those before it, as the engine's."""

    def __init__(self) -> None:
        self.passes: list[TimedPass] = []
        self._costs = CostModel()

    def __call__(self, done: Pass) -> None:
        """Takes a pass that is over."""
        predicted = self._costs.seconds(done.size)
        if np.isfinite(predicted):
            self.passes.append(TimedPass(done.size.windows, done.size.tokens, predicted, done.seconds))
        self._costs.observe(done.size, done.seconds)


class EngineInProcess:
    """One loaded model. `setting` says by `fresh` whether an engine answers that has learnt nothing yet."""

    def __init__(self, setup: dict[str, Any]) -> None:
        folder = Path(setup["model"])
        given = {key: setup[key] for key in ("threads", "device", "precision")} | {"backend": setup["runtime"]}
        model = with_precision(folder, ModelParameters.model_validate({"name": str(folder)} | given))
        self._task = setup["task"]
        self._qa = QAParameters.model_validate(setup["qa"])
        self._embedding = EmbeddingParameters.model_validate(setup["embedding"])
        self._batching = BatchingParameters.model_validate(setup["batching"])
        self._spec, self._shape = load_spec(folder), Shape.of_folder(folder)
        self.precision = str(model.dtype)
        self.packages = ("spanmill", *find_runtime(setup["runtime"]).packages)
        if setup["runtime"] == "torch":
            self.packages = ("spanmill", "torch", "transformers")
        self.declined: str | None = None
        if setup["precision"] == "fast" and self.precision == "float32":
            self.declined = "nothing is faster than float32 here, so it would be the exact one again"
            return
        self._backend = load_backend(folder, model, with_qa_head=self._task == "answer")
        if setup["device"] != "cpu" and self._backend.device == "cpu":
            self.declined = "this runtime computes on the CPU only"
        self._learnt = self._fresh(self._batching)
        self.seconds: float | None = None

    def answer(self, questions: list[str], contexts: list[str], setting: dict[str, Any]) -> Any:
        """Start and end of each row's answer; None where the model abstains."""
        engine = self._fresh(self._batching) if setting.get("fresh") else self._learnt
        started = time.perf_counter()
        results = self._run(engine, self._prepare({"question": questions, "context": contexts}))
        self.seconds = time.perf_counter() - started
        assert results.answers is not None
        return np.stack([results.answers.start, results.answers.end], axis=1).tolist()

    def embed(self, texts: list[str], setting: dict[str, Any]) -> Any:
        """Vectors, [R, D]."""
        engine = self._fresh(self._batching) if setting.get("fresh") else self._learnt
        started = time.perf_counter()
        results = self._run(engine, self._prepare({"text": texts}))
        self.seconds = time.perf_counter() - started
        return results.embeddings

    def usable(self, rows: Rows) -> Any:
        """Positions of the rows that can be cut into windows."""
        _, rejected = self._cut(rows)
        return np.setdiff1d(np.arange(len(next(iter(rows.values())))), rejected.rows).tolist()

    def size(self, rows: Rows) -> dict[str, float]:
        """What there is to compute for rows without padding: windows, tokens, and floating-point operations."""
        spec = self._spec.pair if self._task == "answer" else self._spec.single
        lengths = self._prepare(rows).lengths(spec.specials)
        return {"windows": len(lengths), "tokens": int(lengths.sum()), "flops": self._shape.flops(lengths)}

    def at_sizes(self, rows: Rows, windows: list[int]) -> list[float]:
        """Seconds for all rows, tokens to results, in passes of so many windows each time."""
        prepared, seconds = self._prepare(rows), []
        for size in windows:
            engine = self._fresh(self._batching.model_copy(update={"fixed_windows": size}))
            started = time.perf_counter()
            self._run(engine, prepared)
            seconds.append(time.perf_counter() - started)
        return seconds

    def at_its_choice(self, rows: Rows) -> dict[str, float]:
        """The same with sizes of the batcher's own choice, once it has learnt; and the mean windows of its passes."""
        prepared, engine = self._prepare(rows), self._fresh(self._batching)
        self._run(engine, prepared)
        started = time.perf_counter()
        total = self._run(engine, prepared).stats.total
        return {"windows": total.windows / total.passes, "seconds": time.perf_counter() - started}

    def passes(self, rows: Rows) -> list[dict[str, float]]:
        """Every pass of a fresh engine over rows, twice, with what was predicted of it before."""
        log, engine, prepared = PassLog(), self._fresh(self._batching), self._prepare(rows)
        engine.watch(log)
        for _ in range(2):
            self._run(engine, prepared)
        return [asdict(done) for done in log.passes]

    def _fresh(self, batching: BatchingParameters) -> Engine:
        return Engine(self._backend, self._spec, batching)

    def _prepare(self, rows: Rows) -> Tokenized:
        return self._cut(rows)[0]

    def _cut(self, rows: Rows) -> tuple[Tokenized, Rejected]:
        columns = {name: pa.array(values, pa.string()) for name, values in rows.items()}
        if self._task == "answer":
            return prepare_pairs(self._spec, self._qa, columns["question"], columns["context"])
        return prepare_texts(self._spec, self._embedding, columns["text"])

    def _run(self, engine: Engine, prepared: Tokenized) -> Results:
        if self._task == "answer":
            return engine.answer(prepared, self._qa)
        return engine.embed(prepared, self._embedding)


def load(setup: dict[str, Any]) -> EngineInProcess:
    """The engine over a model folder."""
    return EngineInProcess(setup)
