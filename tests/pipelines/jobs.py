"""Whole jobs as a caller starts them, and the bare engine that they are held against."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from actors.models.loading import load_engine, load_spec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.tokenization.preprocess import prepare_pairs, prepare_texts
from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.config.loader import load_config
from pipelines.execution.executor import execute
from pipelines.execution.outcome import Outcome
from pipelines.job.job import Job, bind, plan_job
from tests.pipelines.helpers import jsonl

SAMPLES = Path(__file__).parents[2] / "samples"
Kind = type[AnswerConfig] | type[EmbedConfig]


def sample_rows() -> list[dict[str, Any]]:
    """The sample corpus."""
    rows: list[dict[str, Any]] = pq.read_table(SAMPLES / "corpus.parquet").to_pylist()
    return rows


def mixed_rows(count: int) -> list[dict[str, Any]]:
    """Rows of the sample corpus, short and long passages mixed."""
    rows = sample_rows()
    return rows[:: -(-len(rows) // count)][:count]


def write_jsonl(path: Path, rows: Sequence[object]) -> Path:
    """A file of one line a row; rows that are bytes are lines as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jsonl(rows))
    return path


def make_job(
    inputs: Sequence[Path | str],
    output: Path | str,
    model: Path,
    *words: str,
    kind: Kind = AnswerConfig,
    limit: int | None = None,
    anew: bool = False,
) -> Job:
    """Planned, not bound; the words are those of --set."""
    config = load_config(kind, None, [f"model.name={model}", "model.threads=1", *words])
    return plan_job([str(path) for path in inputs], str(output), config, limit, anew)


@dataclass(frozen=True)
class Ran:
    """A job that ran to its end."""

    job: Job
    outcome: Outcome
    log: str


def run_job(
    inputs: Sequence[Path | str],
    output: Path | str,
    model: Path,
    *words: str,
    kind: Kind = AnswerConfig,
    limit: int | None = None,
) -> Ran:
    """Plans, binds and runs a job on the Ray that is connected."""
    job = bind(make_job(inputs, output, model, *words, kind=kind, limit=limit), replace=False)
    log = io.StringIO()
    return Ran(job, execute(job, Console(file=log, width=1000)), log.getvalue())


def parts(output: Path) -> list[Path]:
    """The parts of an output folder, in the order of the corpus."""
    return sorted(output.glob("part-*"))


def part_rows(output: Path) -> list[dict[str, Any]]:
    """Rows of all Parquet parts, in the order of the corpus."""
    rows: list[dict[str, Any]] = pa.concat_tables([pq.read_table(part) for part in parts(output)]).to_pylist()
    return rows


def bare_engine(
    model: Path,
    rows: Sequence[dict[str, Any]],
    qa: QAParameters | None = None,
    embedding: EmbeddingParameters | None = None,
) -> list[dict[str, Any]]:
    """What the engine says of the rows without pipeline, files or Ray: `answers` per row, and `embedding`.

    Without `qa`, the rows' `text` is embedded.
    """
    engine = load_engine(
        model, ModelParameters(device="cpu", threads=1), BatchingParameters(fixed_windows=4), qa is not None
    )
    spec = load_spec(model)
    if qa is None:
        assert embedding is not None
        prepared, rejected = prepare_texts(spec, embedding, pa.array([row["text"] for row in rows]))
        results = engine.embed(prepared, embedding)
    else:
        questions, contexts = (pa.array([row[name] for row in rows]) for name in ("question", "context"))
        prepared, rejected = prepare_pairs(spec, qa, questions, contexts)
        results = engine.answer(prepared, qa, embedding)
    assert len(rejected.rows) == 0
    found: list[dict[str, Any]] = [{} for _ in rows]
    if results.answers is not None:
        texts, offsets = results.answers.text.to_pylist(), results.answers.offsets
        for number, row in enumerate(found):
            row["answers"] = [
                {
                    "answer": texts[i],
                    "score": float(results.answers.score[i]),
                    "start": None if results.answers.start[i] < 0 else int(results.answers.start[i]),
                    "end": None if results.answers.start[i] < 0 else int(results.answers.end[i]),
                }
                for i in range(offsets[number], offsets[number + 1])
            ]
    if results.embeddings is not None:
        for row, vector in zip(found, results.embeddings, strict=True):
            row["embedding"] = vector
    return found


def same_answer(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """The same span, and a score within 1e-4."""
    span = ("answer", "start", "end")
    return all(found[name] == expected[name] for name in span) and abs(found["score"] - expected["score"]) <= 1e-4


def same_vector(found: Sequence[float], expected: Sequence[float], tolerance: float = 1e-5) -> bool:
    """Vectors that differ nowhere by more than the tolerance."""
    return len(found) == len(expected) and float(np.abs(np.subtract(found, expected)).max()) <= tolerance
