"""Outputs of jobs, written by the pipeline's own readers, sinks and logs; only the model's answers are made up."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.config.loader import load_config
from pipelines.corpus.listing import list_files
from pipelines.job.job import make_manifest
from pipelines.job.wanted import wanted_of
from pipelines.output.manifest import open_or_create, read_manifest
from pipelines.output.parts import ShardId
from pipelines.output.receipt import SCORE_BINS, Receipt
from pipelines.output.receipt_log import ReceiptLog
from pipelines.output.sinks.base import Sink, find_sink
from pipelines.planning.plan import Plan
from pipelines.planning.planner import make_plan
from pipelines.rows.shard_reader import read_unit
from pipelines.rows.validation import ValidShard, validate
from pipelines.schemas import JobKind, output_schema
from pipelines.storage.filesystem import resolve
from pipelines.view.job_output import JobOutput, open_output
from tests.pipelines.helpers import jsonl
from tests.pipelines.jobs import write_jsonl

WIDTH = 4
"""Of embeddings."""

Answer = tuple[str | None, float]
"""Text of the passage, and its score."""
Added = Mapping[str, tuple[pa.DataType, Callable[[Mapping[str, Any]], Any]]]
"""Columns beside those of the job, with their types: what a row of the input has there."""

TOWNS: list[dict[str, Any]] = [
    {"id": "q0", "question": "Where was Ada born?", "context": "Ada was born in London.", "title": "Ada", "year": 1815},
    {"id": "q1", "question": "Who ground oats?", "context": "🦆 Bo ground oats in Łódź.", "title": "Bo", "year": 1816},
    {"id": "q2", "question": "", "context": "Nobody came.", "title": "Nobody", "year": 1817},
    {"id": "q3", "question": "Who sang?", "context": "It rained 100% of the day.", "title": "Rain", "year": None},
    {"id": "q4", "question": "מי בא?", "context": "דנה באה הביתה.", "title": "<b>Dana</b>", "year": 1819},
    {
        "id": "q5",
        "question": "Who? '; DROP",
        "context": "Eve said _no_ to Mallory.",
        "title": "Eve",
        "year": 1820,
    },
]
"""A row of these goes to quarantine."""
ANSWERS: Mapping[str, Answer] = {
    "q0": ("London", 0.9),
    "q1": ("Bo", 0.5),
    "q3": (None, 0.7),
    "q4": ("דנה", 0.25),
    "q5": ("_no_", 0.125),
}


def write_output(
    place: Path | str,
    rows: Sequence[object],
    answers: Mapping[str, Answer | Sequence[Answer]],
    *words: str,
    folder: Path,
    storage: Mapping[str, object] | None = None,
    added: Added | None = None,
    shards: int | None = None,
) -> JobOutput:
    """An answer job over these rows, of two rows a shard, as it is when so many shards are committed.

    Args:
        words: those of --set.
        folder: where the input is written, as input.jsonl.
        added: columns beside those of the job, by the names that the parts have.
        shards: None for all, which completes the job.
    """
    config = load_config(AnswerConfig, None, ["corpus.shard_rows=2", "corpus.carry=[title, year]", *words])
    return _write(config, place, rows, folder, storage or {}, _answers_of(answers, config), added or {}, shards)


def write_vectors(
    place: Path | str,
    rows: Sequence[object],
    vectors: Mapping[str, Sequence[float]],
    *words: str,
    folder: Path,
    width: int = WIDTH,
) -> JobOutput:
    """An embedding job over the rows' context."""
    config = load_config(EmbedConfig, None, ["corpus.shard_rows=2", "corpus.columns.text=context", *words])
    return _write(config, place, rows, folder, {}, lambda id, _: {"embedding": vectors[id]}, {}, None, width)


def _write(
    config: AnswerConfig | EmbedConfig,
    place: Path | str,
    rows: Sequence[object],
    folder: Path,
    storage: Mapping[str, object],
    results: Callable[[str, str], dict[str, Any]],
    added: Added,
    shards: int | None,
    width: int = WIDTH,
) -> JobOutput:
    kind: JobKind = "answer" if isinstance(config, AnswerConfig) else "embed"
    source = folder / "input.jsonl"
    if not source.exists() or source.read_bytes() != jsonl(rows):
        write_jsonl(source, rows)
    plan = make_plan(list_files([str(source)], config.corpus), config.corpus, kind)
    schema = output_schema(plan.layout.carry, wanted_of(config), width)
    for name, (type, _) in added.items():
        schema = schema.append(pa.field(name, type))
    store = resolve(str(place), storage)
    manifest = open_or_create(store, read_manifest(store), make_manifest(config, None, "a1b2", "float32", schema, plan))
    sink = find_sink("folder", config.output.format)(store, manifest.job8, config.output.format)
    log = ReceiptLog(sink)
    for number, shard in enumerate(_valid_shards(plan)):
        if shards is not None and number >= shards:
            break
        table = _results_table(shard[1], schema, results, added)
        log.add(_committed(sink, shard[0], table, shard[1].quarantine))
    log.write()
    if shards is None:
        sink.finish({})
    return open_output(str(place), storage, {})


def _valid_shards(plan: Plan) -> list[tuple[ShardId, ValidShard]]:
    raws = [raw for unit in plan.units for raw in read_unit(plan.file_of(unit), unit, plan.layout, {})]
    return [(ShardId(raw.unit, raw.number, raw.last), validate(raw, plan.files[0].name, plan.layout)) for raw in raws]


def _results_table(
    shard: ValidShard,
    schema: pa.Schema,
    results: Callable[[str, str], dict[str, Any]],
    added: Added,
) -> pa.Table:
    rows = []
    for row in shard.rows.to_pylist():
        more = {name: value(row) for name, (_, value) in added.items()}
        rows.append({**row, **results(row["id"], row.get("context") or row.get("text")), **more})
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema)


def _committed(sink: Sink, shard: ShardId, table: pa.Table, quarantine: pa.Table) -> Receipt:
    size = sink.commit(shard, table, quarantine, {"model": "a1b2"})
    found = table["answer"].drop_null() if "answer" in table.column_names else table["id"]
    scores = [0] * SCORE_BINS
    for score in table["score"].to_pylist() if "score" in table.column_names else ():
        scores[min(int(score * SCORE_BINS), SCORE_BINS - 1)] += 1
    return Receipt(
        shard=shard,
        file="input.jsonl",
        rows=len(table),
        quarantined=len(quarantine),
        answered=len(found),
        bytes=size,
        reasons=Counter(quarantine["reason"].to_pylist()),
        scores=tuple(scores),
        committed=1.0,
    )


def _answers_of(
    answers: Mapping[str, Answer | Sequence[Answer]], config: AnswerConfig
) -> Callable[[str, str], dict[str, Any]]:
    def one(context: str, answer: Answer) -> dict[str, Any]:
        text, score = answer
        start = None if text is None else context.index(text)
        end = None if start is None else start + len(text or "")
        return {"answer": text, "score": score, "start": start, "end": end}

    def of(id: str, context: str) -> dict[str, Any]:
        given = answers[id]
        if config.qa.top_k == 1:
            return one(context, given)  # type: ignore[arg-type]
        return {"answers": [one(context, answer) for answer in given]}  # type: ignore[arg-type]

    return of
