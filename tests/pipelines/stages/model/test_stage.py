"""The stages, called one after the other without Ray."""

import gzip
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.engine.inference_task import Wanted
from actors.errors import OutOfMemory
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.errors import StorageError
from pipelines.output.parts import Committed, ShardId
from pipelines.output.receipt import Receipt
from pipelines.output.sinks.folder import PartsFolder
from pipelines.planning.plan import Plan
from pipelines.planning.planner import make_plan
from pipelines.planning.row_schema import RowSchema
from pipelines.schemas import QUARANTINE_SCHEMA, output_schema
from pipelines.stages.messages import (
    IpcTable,
    RawMessage,
    ResultsMessage,
    SettledMessage,
    ShardHeader,
    TokenizedMessage,
)
from pipelines.stages.model.runner import OwnModel, RunShard
from pipelines.stages.model.stage import ModelStage
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.prepare import PrepareStage
from pipelines.stages.read import ReadStage
from pipelines.stages.write import WriteStage
from pipelines.storage.filesystem import resolve, write_atomic
from tests.pipelines.helpers import jsonl, plan_of, qa_rows
from tests.pipelines.jobs import bare_engine, same_answer, same_vector, write_jsonl
from tests.pipelines.s3_server import S3Server

QA = Wanted(QAParameters(), None)
VECTORS = EmbeddingParameters()


@pytest.fixture(scope="session")
def qa_stage(untrained_model: Path) -> ModelStage:
    return _model_stage(untrained_model, QA, None)


def _model_stage(model: Path, task: Wanted, parts: PartsFolder | None) -> ModelStage:
    parameters = ModelParameters(name=str(model), device="cpu", threads=1)
    return ModelStage(OwnModel(parameters, BatchingParameters(), task, _fingerprint(model)), parts)


def _fingerprint(model: Path) -> str:
    from actors.models.hub import fingerprint

    return fingerprint(model, "torch")


def _read(plan: Plan, committed: Committed | None = None) -> list[pa.Table]:
    pending = PendingUnit.left(plan, committed or Committed({}, {}, ()))
    return list(ReadStage(plan.layout, {})(PendingUnit.to_table(pending)))


def _prepare(model: Path, layout: RowSchema, task: Wanted, tables: list[pa.Table]) -> list[pa.Table]:
    return list(map(PrepareStage(layout, load_spec(model), task.qa, task.embedding), tables))


def _write(output: Path, schema: pa.Schema, tables: list[pa.Table]) -> list[Receipt]:
    stage = WriteStage(PartsFolder(resolve(str(output)), "0123abcd", "parquet"), schema, {"model": "m"})
    return [receipt for table in tables for receipt in Receipt.from_table(stage(table))]


def _settled(table: pa.Table) -> SettledMessage:
    found = SettledMessage.found_in(table)
    assert found is not None
    return found


def test_rows_become_answers_and_bad_rows_go_to_quarantine_at_their_place(
    tmp_path: Path, untrained_model: Path, qa_stage: ModelStage
) -> None:
    good = qa_rows(9)
    bad = [
        {"id": "long", "question": "who " * 600, "context": "Nobody."},
        {"id": "mute", "question": "Who?", "context": "\u200b\u200b"},
        b'{"id": "cut',
    ]
    lines = [bad[0], *good[:5], bad[1], *good[5:], bad[2]]
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", lines), shard_rows=5)
    prepared = _prepare(untrained_model, plan.layout, QA, _read(plan))
    receipts = _write(tmp_path / "out", output_schema(pa.schema([]), QA, 128), list(map(qa_stage, prepared)))

    assert [(r.error, r.rows, r.quarantined, r.answered) for r in receipts] == [
        ("", 4, 1, 4),
        ("", 4, 1, 4),
        ("", 1, 1, 1),
    ]
    found = pq.read_table(tmp_path / "out").to_pylist()
    expected = bare_engine(untrained_model, good, QAParameters())
    assert [row["id"] for row in found] == [row["id"] for row in good]
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))
    quarantine = pq.read_table(tmp_path / "out" / "_quarantine").to_pylist()
    assert [(row["id"], row["reason"]) for row in quarantine] == [
        ("long", "question_too_long"),
        ("mute", "no_tokens"),
        (None, "malformed_json"),
    ]
    text = (tmp_path / "in.jsonl").read_bytes().splitlines(keepends=True)
    assert [row["place"] for row in quarantine] == [0, sum(map(len, text[:6])), sum(map(len, text[:-1]))]


def test_texts_become_embeddings(tmp_path: Path, untrained_model: Path) -> None:
    rows = [{"id": "a", "text": "one two"}, {"id": "b", "text": "long " * 900}, {"id": "c", "text": "one two"}]
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", rows), "embed")
    task = Wanted(None, VECTORS)
    stage = _model_stage(untrained_model, task, None)
    tables = list(map(stage, _prepare(untrained_model, plan.layout, task, _read(plan))))
    _write(tmp_path / "out", output_schema(pa.schema([]), task, 128), tables)
    found = pq.read_table(tmp_path / "out").to_pylist()
    expected = bare_engine(untrained_model, rows, embedding=VECTORS)
    assert [row["id"] for row in found] == ["a", "b", "c"]
    assert all(same_vector(row["embedding"], one["embedding"]) for row, one in zip(found, expected, strict=True))
    assert found[0]["embedding"] == found[2]["embedding"]


def test_committed_shards_are_not_read_again(tmp_path: Path) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(10)), shard_rows=3)
    left = _read(plan, Committed({0: frozenset({0, 2})}, {}, ()))
    shards = [RawMessage.from_table(table).header.shard for table in left]
    assert [(shard.number, shard.last) for shard in shards] == [(1, False), (3, True)]


def test_a_damaged_file_gives_the_shards_before_the_damage_and_says_where_it_stopped(tmp_path: Path) -> None:
    # More than is read at once, or nothing would come before the damage.
    rows = [{**row, "context": "x" * 1000} for row in qa_rows(20_000)]
    whole = gzip.compress(jsonl(rows), 0)
    (tmp_path / "in.jsonl.gz").write_bytes(whole[:-1000])
    tables = _read(plan_of(tmp_path, shard_rows=5000))
    assert [SettledMessage.found_in(table) for table in tables[:-1]] == [None] * (len(tables) - 1)
    assert len(tables) > 1
    cut = _settled(tables[-1])
    assert (cut.header.shard, cut.failed_in) == (ShardId(0, len(tables) - 1, False), "read")
    assert "cut short" in cut.error
    assert "in.jsonl.gz" in cut.error


def test_an_error_passes_through_the_later_stages_to_the_receipt(
    tmp_path: Path, untrained_model: Path, qa_stage: ModelStage
) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(1)))
    header = ShardHeader(ShardId(4, 2, False), "in.jsonl")
    lost = SettledMessage.failed(header, "read", StorageError("the disk is gone")).to_table()
    [prepared] = _prepare(untrained_model, plan.layout, QA, [lost])
    assert qa_stage(prepared) is prepared is lost, "it is handed on untouched"
    [receipt] = _write(tmp_path / "out", output_schema(pa.schema([]), QA, 128), [lost])
    assert (receipt.failed_in, receipt.error) == ("read", "the disk is gone")
    assert receipt.shard == ShardId(4, 2, False)
    assert not (tmp_path / "out").exists()


def test_what_prepare_and_model_cannot_do_is_that_shards_error(
    tmp_path: Path, untrained_model: Path, qa_stage: ModelStage
) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(1)))
    header, spoilt = ShardHeader(ShardId(0, 0, True), "in.jsonl", store_errors=2), IpcTable(pa.py_buffer(b"x"))
    [prepared] = _prepare(untrained_model, plan.layout, QA, [RawMessage(header, spoilt).to_table()])
    modelled = qa_stage(TokenizedMessage(header, spoilt, spoilt, spoilt).to_table())
    for table, stage in ((prepared, "prepare"), (modelled, "model")):
        failed = _settled(table)
        assert (failed.header, failed.failed_in) == (header, stage)
        assert failed.error.startswith("ArrowInvalid: ")
        assert not [name for name in table.column_names if name.startswith("payload")]


def test_a_shard_that_another_run_committed_is_found_and_not_computed(tmp_path: Path, untrained_model: Path) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(4)), shard_rows=2)
    parts = PartsFolder(resolve(str(tmp_path / "out")), "0123abcd", "parquet")
    tables = _prepare(untrained_model, plan.layout, QA, _read(plan))
    first, second = map(TokenizedMessage.from_table, tables)
    stage = _model_stage(untrained_model, QA, parts)
    schema = output_schema(pa.schema([]), QA, 128)
    parts.commit(first.header.shard, schema.empty_table(), QUARANTINE_SCHEMA.empty_table(), {})
    # What cannot be computed shows that nothing tried to.
    spoilt = replace(first, windows=IpcTable(pa.py_buffer(b"x")))
    found, computed = (stage(message.to_table()) for message in (spoilt, second))
    assert _settled(found) == SettledMessage(first.header, found=True)
    assert SettledMessage.found_in(computed) is None
    receipts = _write(tmp_path / "out", schema, [found, computed])
    assert [(receipt.found, receipt.rows) for receipt in receipts] == [(True, 0), (False, 2)]
    assert parts.committed().shards == 2
    assert stage(spoilt.to_table()) == found, "the look is a fresh one every time"


def _with_errors(table: pa.Table, errors: int) -> pa.Table:
    return RawMessage.from_table(table).with_store_errors(errors).to_table()


def test_a_store_that_cannot_be_asked_does_not_stop_the_work_and_its_errors_are_carried(
    tmp_path: Path, untrained_model: Path
) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(2)))
    (tmp_path / "out").write_bytes(b"a file")
    stage = _model_stage(untrained_model, QA, PartsFolder(resolve(str(tmp_path / "out")), "0123abcd", "parquet"))
    [prepared] = _prepare(untrained_model, plan.layout, QA, [_with_errors(_read(plan)[0], 3)])
    modelled = stage(prepared)
    assert ResultsMessage.from_table(modelled).header.store_errors == 4
    [receipt] = _write(tmp_path / "out", output_schema(pa.schema([]), QA, 128), [modelled])
    assert (receipt.failed_in, receipt.permanent, receipt.store_errors) == ("write", True, 5)


def test_errors_of_the_store_that_is_read_are_counted(s3: S3Server) -> None:
    from tests.pipelines.fault_proxy import Fault, proxy_to

    source = resolve("s3://bucket/counted", s3.options)
    write_atomic(source.fs, source.path("a.jsonl"), jsonl(qa_rows(6)))
    with proxy_to(s3) as proxy:
        parameters = CorpusParameters(storage=proxy.proxied.options, shard_rows=2)
        plan = make_plan(list_files(["s3://bucket/counted"], parameters), parameters, "answer")
        proxy.inject(Fault.SERVER_ERROR, "GET HEAD", times=2)
        pending = PendingUnit.to_table(PendingUnit.left(plan, Committed({}, {}, ())))
        messages = list(map(RawMessage.from_table, ReadStage(plan.layout, parameters.storage)(pending)))
    assert messages[0].header.store_errors > 0
    assert [message.header.store_errors for message in messages[1:]] == [0, 0]


def test_another_model_than_the_drivers_is_refused(untrained_model: Path) -> None:
    from actors.errors import ModelError

    parameters = ModelParameters(name=str(untrained_model), device="cpu")
    with pytest.raises(ModelError, match="differs between machines"):
        ModelStage(OwnModel(parameters, BatchingParameters(), QA, "0" * 64))


@dataclass(frozen=True)
class _NoModel(OwnModel):
    """Cannot be loaded."""

    error: Exception = field(kw_only=True)

    def open(self) -> RunShard:
        raise self.error


def test_an_actor_that_is_started_anew_never_dies_in_its_constructor(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would give it up, and Ray Data wait for it; its first shard is told instead, and it is started once more."""
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(1)))
    [prepared] = _prepare(untrained_model, plan.layout, QA, _read(plan))
    ended: list[object] = []
    monkeypatch.setattr(ModelStage, "_leave", lambda stage: ended.append(stage))
    full = _NoModel(ModelParameters(), BatchingParameters(), QA, "", error=OutOfMemory("the device is full"))
    with pytest.raises(OutOfMemory):
        ModelStage(full, None, True)
    monkeypatch.setattr("pipelines.stages.model.stage._is_restarted", lambda: True)
    failed = _settled(ModelStage(full, None, True)(prepared))
    assert (failed.error, failed.device_lost) == ("the device is lost: OutOfMemory: the device is full", True)
    assert len(ended) == 1
    with pytest.raises(OutOfMemory):
        ModelStage(full, None, False)


def test_workers_that_hold_no_model_do_not_load_torch() -> None:
    show = "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    loaded = f"import sys, pipelines.stages.model.stage; {show}"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
