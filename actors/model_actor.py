"""The engine as an actor: prepared shards in, result columns out."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from actors.answers import Answers
from actors.engine import Results
from actors.errors import ModelError
from actors.loading import load_engine
from actors.models import find_model, fingerprint
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.prepared import Prepared
from actors.stats import PassStats


@dataclass(frozen=True)
class Task:
    """What is asked of every shard of a job: answers, embeddings, or both."""

    qa: QAParameters | None
    embedding: EmbeddingParameters | None


class ModelActor:
    """One copy of the model on one device. Knows neither Ray nor files; adapters host it."""

    def __init__(
        self, model: ModelParameters, batching: BatchingParameters, task: Task, expected: str | None = None
    ) -> None:
        """Loads the model.

        Args:
            expected: fingerprint that the model must have; None takes any.

        Raises:
            ModelError: it cannot be found or used, or is another one than expected.
        """
        folder = find_model(model)
        if expected is not None and fingerprint(folder) != expected:
            raise ModelError(
                f"{model.name} differs between machines: here it is {fingerprint(folder)[:12]}, "
                f"the job was planned with {expected[:12]}; pin model.revision, or copy the same folder everywhere"
            )
        self._task = task
        self._engine = load_engine(folder, model, batching, with_qa_head=task.qa is not None)

    def process(self, prepared_ipc: pa.Buffer) -> tuple[pa.Table, PassStats]:
        """Runs one prepared shard; several threads may call at once.

        Returns:
            The result columns, one row per row of the shard: `answer`, `score`, `start`, `end`, or with
            `top_k` > 1 `answers`; `null_score` and `embedding` where they are asked for.
        """
        prepared = Prepared.from_ipc(prepared_ipc)
        task = self._task
        if task.qa is not None:
            results = self._engine.answer(prepared, task.qa, task.embedding)
        elif task.embedding is not None:
            results = self._engine.embed(prepared, task.embedding)
        else:
            raise ValueError("a task asks for answers, embeddings or both")
        return _columns(results, task), results.stats


def _columns(results: Results, task: Task) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    if results.answers is not None and task.qa is not None:
        if task.qa.top_k == 1:
            columns |= _answer_fields(results.answers)
        else:
            fields = _answer_fields(results.answers)
            structs = pa.StructArray.from_arrays(list(fields.values()), list(fields))
            columns["answers"] = pa.ListArray.from_arrays(pa.array(results.answers.offsets), structs)
        if task.qa.null_score:
            columns["null_score"] = pa.array(results.answers.null_score, type=pa.float64())
    if results.embeddings is not None and task.embedding is not None:
        vectors = results.embeddings.astype(task.embedding.dtype)
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    return pa.table(columns)


def _answer_fields(answers: Answers) -> dict[str, pa.Array]:
    abstains = answers.start < 0
    return {
        "answer": answers.text,
        "score": pa.array(answers.score, type=pa.float64()),
        "start": pa.array(answers.start, type=pa.int32(), mask=np.asarray(abstains)),
        "end": pa.array(answers.end, type=pa.int32(), mask=np.asarray(abstains)),
    }
