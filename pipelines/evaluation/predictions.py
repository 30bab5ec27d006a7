"""Predictions for examples: runs an answer job over them and reads its parts back."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from rich.console import Console

from pipelines.config.job import AnswerConfig, CorpusParameters, OutputParameters
from pipelines.evaluation.evaluator import PREDICTION_SCHEMA, without_abstaining
from pipelines.execution.executor import execute
from pipelines.execution.outcome import Outcome
from pipelines.job.job import Job, bind, plan_job
from pipelines.output.encoding import from_parquet, to_parquet
from pipelines.output.sinks.folder import PartsFolder
from pipelines.storage.filesystem import exists, read_bytes, resolve, write_atomic


@dataclass(frozen=True)
class JobPredictions:
    """The predictions of an answer job over examples, with the job and its outcome."""

    predictions: pa.Table
    """PREDICTION_SCHEMA, one row per example; a quarantined row has no answer and counts as abstaining."""

    job: Job
    outcome: Outcome


def predict(
    examples: pa.Table, config: AnswerConfig, folder: str, may_abstain: bool, overwrite: bool, console: Console
) -> JobPredictions:
    """Runs an answer job over the examples; the same call resumes where an earlier one in the folder stopped.

    The folder gets the examples as Parquet and the job's output, `answers`.

    Args:
        examples: EXAMPLE_SCHEMA.
        config: of the job. The columns of input and output, `qa.top_k`, `qa.handle_impossible_answer` and
            `qa.null_score` are replaced by what an evaluation needs.
        folder: path or URL that the driver and all workers can reach.
        may_abstain: also compute the probability of "no answer".

    Raises:
        SpanmillError, ModelError: the job does not complete.
    """
    corpus = _write_corpus(examples, folder, config.output)
    job = plan_job(
        [corpus], f"{folder.rstrip('/')}/answers", _job_config(config, may_abstain), limit=None, anew=overwrite
    )
    job = bind(job, replace=overwrite)
    outcome = execute(job, console)
    return JobPredictions(_aligned(_read_parts(job), len(examples), may_abstain), job, outcome)


def _aligned(found: pa.Table, rows: int, may_abstain: bool) -> pa.Table:
    """Predictions in the order of the examples: parts have another order, and lack quarantined rows."""
    place = np.full(rows, -1, dtype=np.int64)
    place[found["id"].cast(pa.int64()).to_numpy()] = np.arange(len(found))
    found = found.take(pa.array(place, mask=place < 0))
    if not may_abstain:
        return without_abstaining(found["answer"])
    null, span = (found[name].to_numpy() for name in ("null_score", "score"))
    # 1.0: quarantined rows abstain. 0.5: where both scores are 0, the model does not.
    no_answer = np.where(place < 0, 1.0, 0.5)
    total = null + span
    np.divide(null, total, out=no_answer, where=total > 0)
    return pa.table([found["answer"], no_answer], schema=PREDICTION_SCHEMA)


def _write_corpus(examples: pa.Table, folder: str, output: OutputParameters) -> str:
    """Writes the job's input under a name with its hash, so that a resumed job finds the same file unchanged."""
    numbers = pa.array(np.arange(len(examples))).cast(pa.string())
    table = pa.table({"id": numbers, "question": examples["question"], "context": examples["context"]})
    data = to_parquet(table, {})
    store = resolve(folder, output.storage)
    name = f"examples-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    if not exists(store.fs, store.path(name)):
        write_atomic(store.fs, store.path(name), data)
    return f"{folder.rstrip('/')}/{name}"


def _job_config(config: AnswerConfig, may_abstain: bool) -> AnswerConfig:
    # The best span, and beside it the null score: whether to abstain is decided when the scores are computed.
    qa = {"top_k": 1, "handle_impossible_answer": False, "null_score": may_abstain}
    corpus = {name: getattr(config.corpus, name) for name in ("shard_rows", "unit_bytes", "max_text_bytes")}
    return config.model_copy(
        update={
            "qa": config.qa.model_copy(update=qa),
            "embedding": None,
            "corpus": CorpusParameters(**corpus, storage=config.output.storage),
            "output": OutputParameters(storage=config.output.storage),
        }
    )


def _read_parts(job: Job) -> pa.Table:
    parts = PartsFolder(job.store, job.manifest.job8, job.config.output.format)
    paths = [parts.path(shard) for shard in job.committed().ids()]
    return pa.concat_tables([job.schema.empty_table(), *(from_parquet(read_bytes(job.store.fs, at)) for at in paths)])
