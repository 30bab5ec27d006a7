"""Result columns become parts and receipts."""

import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.engine.inference_task import Wanted
from actors.engine.pass_stats import LengthBucket, PassStats
from actors.parameters import ChunkParameters, EmbeddingParameters, QAParameters
from actors.tokenization.chunked_texts import CHUNK_SCHEMA
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.output.sinks.folder import PartsFolder
from pipelines.schemas import QUARANTINE_SCHEMA, output_schema
from pipelines.stages.messages import IpcTable, ResultsMessage, SettledMessage, ShardHeader
from pipelines.stages.model.run import ModelRun
from pipelines.stages.write import WriteStage
from pipelines.storage.filesystem import resolve

CARRY = pa.schema([("year", pa.int16())])
ONE, THREE = (output_schema(CARRY, Wanted(QAParameters(top_k=k)), 2) for k in (1, 3))
BOTH = output_schema(CARRY, Wanted(QAParameters(), EmbeddingParameters()), 2)
VECTORS = output_schema(CARRY, Wanted(embedding=EmbeddingParameters(dtype="float16")), 2)
RUN = ModelRun(1000.5, 2.25, "mill-3", PassStats({64: LengthBucket(2, 9, 100, 120, 0.5)}, Counter({256: 2})))
Answer = tuple[str | None, float]


def _message(results: pa.Table, *reasons: str) -> ResultsMessage:
    rows = pa.table({"id": [f"q{i}" for i in range(len(results))], "year": pa.array([1871] * len(results), pa.int16())})
    bad = pa.Table.from_pylist([{"id": "bad", "reason": reason} for reason in reasons], QUARANTINE_SCHEMA)
    return ResultsMessage(
        ShardHeader(ShardId(3, 1, True), "a.jsonl", store_errors=2),
        rows=IpcTable.of(rows.cast(pa.schema([("id", pa.string()), *CARRY]))),
        quarantine=IpcTable.of(bad),
        columns=IpcTable.of(results),
        model_run=IpcTable.of(RUN.to_table()),
    )


def _fields(answer: Answer) -> dict[str, Any]:
    text, score = answer
    start = None if text is None else 0
    return {"answer": text, "score": score, "start": start, "end": start}


def _results(schema: pa.Schema, answers: Sequence[Answer]) -> pa.Table:
    """One row per answer; where several are asked for, each is the best of two."""
    names = [name for name in ("answer", "score", "start", "end", "answers") if name in schema.names]
    rows = [{**_fields(a), "answers": [_fields(a), _fields(("second", 0.5))]} for a in answers]
    return pa.Table.from_pylist(rows, pa.schema([schema.field(name) for name in names]))


def _vectors(count: int, dtype: str) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.arange(2 * count).astype(dtype)), 2)


def _stage(output: Path, schema: pa.Schema, format: str = "parquet", rehearsal: bool = False) -> WriteStage:
    return WriteStage(PartsFolder(resolve(str(output)), "0123abcd", format), schema, {"model": "m"}, rehearsal)


def _receipt(stage: WriteStage, message: ResultsMessage | SettledMessage) -> Receipt:
    [receipt] = Receipt.from_table(stage(message.to_table()))
    return receipt


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_receipt_tells_what_was_written(tmp_path: Path, format: str) -> None:
    begun = time.time()
    stage = _stage(tmp_path, ONE, format)
    message = _message(_results(ONE, [("a", 0.2), (None, 0.9), ("c", 0.7)]), "crashed", "null_text", "crashed")
    receipt = _receipt(stage, message)
    part = tmp_path / f"part-00003-00001z-0123abcd.{format}"
    assert (receipt.shard, receipt.file) == (ShardId(3, 1, True), "a.jsonl")
    assert (receipt.rows, receipt.quarantined, receipt.answered) == (3, 3, 2)
    assert receipt.bytes == part.stat().st_size > 0
    assert receipt.reasons == Counter(crashed=2, null_text=1)
    assert (receipt.started, receipt.seconds, receipt.node, receipt.stats) == (1000.5, 2.25, "mill-3", RUN.stats)
    assert begun <= receipt.committed <= time.time()
    assert (receipt.failed_in, receipt.found, receipt.store_errors) == ("", False, 2)


SCORED: list[Answer] = [("a", 0.0), ("b", 0.04), ("c", 0.06), ("d", 0.999), ("e", 1.0), ("f", 1.7), (None, 0.5)]


@pytest.mark.parametrize("schema", [ONE, THREE, BOTH])
def test_scores_of_the_best_answers_are_counted_in_bins(tmp_path: Path, schema: pa.Schema) -> None:
    """A score above 1 comes of equal texts that were added up; a row that abstains has no score to count."""
    results = _results(schema, SCORED)
    if "embedding" in schema.names:
        results = results.append_column("embedding", _vectors(len(results), "float32"))
    receipt = _receipt(_stage(tmp_path, schema), _message(results))
    assert receipt.scores == (2, 1, *[0] * 17, 3)
    assert (receipt.rows, receipt.answered) == (7, 6)
    part = pq.read_table(tmp_path / "part-00003-00001z-0123abcd.parquet")
    assert part.schema.remove_metadata() == schema
    assert part.drop(["id", "year"]).to_pylist() == results.to_pylist()


def test_an_embedding_has_no_score(tmp_path: Path) -> None:
    receipt = _receipt(_stage(tmp_path, VECTORS), _message(pa.table({"embedding": _vectors(4, "float16")})))
    assert (receipt.rows, receipt.answered, receipt.scores) == (4, 4, ())


@pytest.mark.parametrize("schema", [ONE, THREE])
def test_a_shard_without_a_good_row_is_committed_too(tmp_path: Path, schema: pa.Schema) -> None:
    receipt = _receipt(_stage(tmp_path, schema), _message(_results(schema, []), "null_text"))
    assert (receipt.rows, receipt.quarantined, receipt.answered, receipt.scores) == (0, 1, 0, (0,) * 20)
    assert pq.read_metadata(tmp_path / "part-00003-00001z-0123abcd.parquet").num_rows == 0
    assert len(pq.read_table(tmp_path / "_quarantine")) == 1


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_rehearsal_says_the_same_and_writes_nothing(tmp_path: Path, format: str) -> None:
    message = _message(_results(ONE, SCORED), "crashed")
    real = _receipt(_stage(tmp_path / "real", ONE, format), message)
    told = _receipt(_stage(tmp_path / "rehearsed", ONE, format, rehearsal=True), message)
    assert not (tmp_path / "rehearsed").exists()
    # Real Parquet says in its footer how many rows it holds.
    assert replace(told, committed=real.committed, bytes=real.bytes) == real
    assert 0 <= real.bytes - told.bytes < 400


def test_a_part_that_cannot_be_written_is_that_shards_failure(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    receipt = _receipt(_stage(tmp_path / "out", ONE), _message(_results(ONE, SCORED), "crashed"))
    assert receipt.failed_in == "write"
    assert "writing failed" in receipt.error
    assert receipt.permanent
    assert receipt.store_errors == 3, "two on its way, and this one"
    assert (receipt.rows, receipt.quarantined) == (0, 0)


def test_results_that_do_not_fit_are_that_shards_failure(tmp_path: Path) -> None:
    message = _message(_results(ONE, SCORED))
    receipt = _receipt(_stage(tmp_path, VECTORS), message)
    assert receipt.failed_in == "write"
    assert not receipt.permanent
    assert receipt.node == socket.gethostname(), "others may be able to write"
    assert list(tmp_path.iterdir()) == []


def test_what_is_settled_is_not_written(tmp_path: Path) -> None:
    message = _message(_results(ONE, SCORED))
    stage = _stage(tmp_path, ONE)
    found = _receipt(stage, SettledMessage(message.header, found=True))
    failed = _receipt(stage, SettledMessage.failed(message.header, "model", ValueError("7")))
    assert (found.found, found.failed_in, found.rows) == (True, "", 0)
    assert (failed.found, failed.failed_in, failed.error) == (False, "model", "ValueError: 7")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_row_is_repeated_for_each_of_its_chunks_and_counted_once(tmp_path: Path, format: str) -> None:
    schema = output_schema(CARRY, Wanted(embedding=EmbeddingParameters()), 2, chunk=ChunkParameters())
    places = [(0, "aa", 0, 0, 5), (0, "bb", 1, 6, 9), (1, "aa", 0, 0, 5), (1, "aa-2", 1, 6, 11), (1, "cc", 2, 12, 14)]
    chunks = pa.Table.from_pylist(
        [dict(zip(CHUNK_SCHEMA.names, place, strict=False)) for place in places], CHUNK_SCHEMA
    )
    columns = IpcTable.of(pa.table({"embedding": _vectors(5, "float32")}))
    message = replace(_message(pa.table({"rows": [0, 1]}), "no_tokens"), columns=columns, chunks=IpcTable.of(chunks))
    receipt = _receipt(_stage(tmp_path, schema, format), message)
    assert (receipt.rows, receipt.chunks, receipt.answered, receipt.quarantined) == (2, 5, 2, 1)
    part = tmp_path / f"part-00003-00001z-0123abcd.{format}"
    rows = (
        pq.read_table(part).to_pylist()
        if format == "parquet"
        else list(map(orjson.loads, part.read_bytes().splitlines()))
    )
    assert [(row["id"], row["document_id"], row["year"], row["chunk"], row["start"], row["end"]) for row in rows] == [
        ("q0#aa", "q0", 1871, 0, 0, 5),
        ("q0#bb", "q0", 1871, 1, 6, 9),
        ("q1#aa", "q1", 1871, 0, 0, 5),
        ("q1#aa-2", "q1", 1871, 1, 6, 11),
        ("q1#cc", "q1", 1871, 2, 12, 14),
    ]
    assert list(rows[0]) == schema.names
    parts = PartsFolder(resolve(str(tmp_path)), "0123abcd", format)
    assert parts.count_documents([ShardId(3, 1, True)]) == 2


def test_text_may_be_carried_where_the_texts_of_chunks_are_not_written(tmp_path: Path) -> None:
    carry = pa.schema([("text", pa.string())])
    schema = output_schema(carry, Wanted(embedding=EmbeddingParameters()), 2, chunk=ChunkParameters())
    places = [{"row": 0, "key": f"k{n}", "chunk": n, "start": n, "end": n + 1, "text": f"part {n}"} for n in range(2)]
    message = replace(
        _message(pa.table({"rows": [0]})),
        rows=IpcTable.of(pa.table({"id": ["a"], "text": ["the whole"]})),
        columns=IpcTable.of(pa.table({"embedding": _vectors(2, "float32")})),
        chunks=IpcTable.of(pa.Table.from_pylist(places, CHUNK_SCHEMA)),
    )
    receipt = _receipt(_stage(tmp_path, schema), message)
    assert (receipt.failed_in, receipt.chunks) == ("", 2)
    rows = pq.read_table(tmp_path / "part-00003-00001z-0123abcd.parquet").to_pylist()
    assert [(row["id"], row["text"], row["chunk"]) for row in rows] == [
        ("a#k0", "the whole", 0),
        ("a#k1", "the whole", 1),
    ]


def test_a_job_without_chunks_may_carry_columns_that_are_called_like_theirs(tmp_path: Path) -> None:
    carry = pa.schema([("chunk", pa.string()), ("document_id", pa.string())])
    schema = output_schema(carry, Wanted(embedding=EmbeddingParameters()), 2)
    rows = pa.table({"id": ["a"], "chunk": ["x"], "document_id": ["y"]})
    columns = IpcTable.of(pa.table({"embedding": _vectors(1, "float32")}))
    message = replace(_message(pa.table({"rows": [0]})), columns=columns, rows=IpcTable.of(rows))
    receipt = _receipt(_stage(tmp_path, schema), message)
    assert (receipt.rows, receipt.chunks) == (1, None)
    [row] = pq.read_table(tmp_path / "part-00003-00001z-0123abcd.parquet").to_pylist()
    assert (row["id"], row["chunk"], row["document_id"]) == ("a", "x", "y")
