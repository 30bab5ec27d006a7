"""The stages, called one after the other without Ray."""

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.engine.inference_task import Wanted
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from pipelines.config.job import CorpusParameters
from pipelines.corpus.listing import list_files
from pipelines.errors import StorageError
from pipelines.output.messages import ShardMessage
from pipelines.output.parts import Committed, Parts, ShardId
from pipelines.output.receipt import Receipt
from pipelines.planning.plan import Plan
from pipelines.planning.planner import make_plan
from pipelines.planning.row_schema import RowSchema
from pipelines.schemas import QUARANTINE_SCHEMA, output_schema
from pipelines.stages.model import ModelStage
from pipelines.stages.model_runner import OwnModel
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


def _model_stage(model: Path, task: Wanted, parts: Parts | None) -> ModelStage:
    parameters = ModelParameters(name=str(model), device="cpu", threads=1)
    return ModelStage(OwnModel(parameters, BatchingParameters(), task, _fingerprint(model)), parts)


def _fingerprint(model: Path) -> str:
    from actors.models.hub import fingerprint

    return fingerprint(model, "torch")


def _read(plan: Plan, committed: Committed | None = None) -> list[ShardMessage]:
    works = PendingUnit.left(plan, committed or Committed({}, {}, ()))
    return [ShardMessage.from_table(table) for table in ReadStage(plan.layout, {})(PendingUnit.to_table(works))]


def _prepare(model: Path, layout: RowSchema, task: Wanted, tickets: list[ShardMessage]) -> list[ShardMessage]:
    stage = PrepareStage(layout, load_spec(model), task.qa, task.embedding)
    return [ShardMessage.from_table(stage(ticket.to_table())) for ticket in tickets]


def _write(output: Path, schema: pa.Schema, tickets: list[ShardMessage]) -> list[Receipt]:
    stage = WriteStage(Parts(resolve(str(output)), "0123abcd", "parquet"), schema, {"model": "m"})
    return [receipt for ticket in tickets for receipt in Receipt.from_table(stage(ticket.to_table()))]


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
    modelled = [ShardMessage.from_table(qa_stage(ticket.to_table())) for ticket in prepared]
    receipts = _write(tmp_path / "out", output_schema(pa.schema([]), QA, 128), modelled)

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
    tickets = [
        ShardMessage.from_table(stage(t.to_table())) for t in _prepare(untrained_model, plan.layout, task, _read(plan))
    ]
    _write(tmp_path / "out", output_schema(pa.schema([]), task, 128), tickets)
    found = pq.read_table(tmp_path / "out").to_pylist()
    expected = bare_engine(untrained_model, rows, embedding=VECTORS)
    assert [row["id"] for row in found] == ["a", "b", "c"]
    assert all(same_vector(row["embedding"], one["embedding"]) for row, one in zip(found, expected, strict=True))
    assert found[0]["embedding"] == found[2]["embedding"]


def test_committed_shards_are_not_read_again(tmp_path: Path) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(10)), shard_rows=3)
    left = _read(plan, Committed({0: frozenset({0, 2})}, {}, ()))
    assert [(ticket.number, ticket.last) for ticket in left] == [(1, False), (3, True)]


def test_a_damaged_file_gives_the_shards_before_the_damage_and_says_where_it_stopped(tmp_path: Path) -> None:
    whole = gzip.compress(jsonl(qa_rows(20_000)), 0)
    (tmp_path / "in.jsonl.gz").write_bytes(whole[:-1000])
    tickets = _read(plan_of(tmp_path, shard_rows=5000))
    assert [(ticket.number, bool(ticket.error)) for ticket in tickets][-1] == (len(tickets) - 1, True)
    assert "cut short" in tickets[-1].error
    assert "in.jsonl.gz" in tickets[-1].error


def test_an_error_passes_through_the_later_stages_to_the_receipt(
    tmp_path: Path, untrained_model: Path, qa_stage: ModelStage
) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(1)))
    lost = ShardMessage(4, 2, False, "in.jsonl").failed("read", StorageError("the disk is gone"))
    [prepared] = _prepare(untrained_model, plan.layout, QA, [lost])
    modelled = ShardMessage.from_table(qa_stage(prepared.to_table()))
    [receipt] = _write(tmp_path / "out", output_schema(pa.schema([]), QA, 128), [modelled])
    assert (receipt.failed_in, receipt.error) == ("read", "the disk is gone")
    assert receipt.shard == ShardId(4, 2, False)
    assert not (tmp_path / "out").exists()


def test_what_prepare_and_model_cannot_do_is_that_shards_error(
    tmp_path: Path, untrained_model: Path, qa_stage: ModelStage
) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(1)))
    spoilt = ShardMessage(0, 0, True, "in.jsonl").with_payloads(raw=pa.py_buffer(b"x"), prepared=pa.py_buffer(b"x"))
    [prepared] = _prepare(untrained_model, plan.layout, QA, [spoilt])
    modelled = ShardMessage.from_table(qa_stage(spoilt.to_table()))
    for ticket, stage in ((prepared, "prepare"), (modelled, "model")):
        assert ticket.failed_in == stage
        assert ticket.error.startswith("ArrowInvalid: ")
        assert ticket.payloads == {}


def test_a_shard_that_another_run_committed_is_found_and_not_computed(tmp_path: Path, untrained_model: Path) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(4)), shard_rows=2)
    parts = Parts(resolve(str(tmp_path / "out")), "0123abcd", "parquet")
    first, second = _prepare(untrained_model, plan.layout, QA, _read(plan))
    stage = _model_stage(untrained_model, QA, parts)
    schema = output_schema(pa.schema([]), QA, 128)
    parts.commit(first.shard, schema.empty_table(), QUARANTINE_SCHEMA.empty_table(), {})
    # What cannot be computed shows that nothing tried to.
    spoilt = first.with_payloads(prepared=pa.py_buffer(b"x"))
    found, computed = (ShardMessage.from_table(stage(ticket.to_table())) for ticket in (spoilt, second))
    assert (found.found, found.failed_in, found.payloads) == (True, "", {})
    assert not computed.found
    receipts = _write(tmp_path / "out", schema, [found, computed])
    assert [(receipt.found, receipt.rows) for receipt in receipts] == [(True, 0), (False, 2)]
    assert parts.committed().shards == 2
    again = ShardMessage.from_table(stage(spoilt.to_table()))
    assert again == found, "the look is a fresh one every time"


def test_a_store_that_cannot_be_asked_does_not_stop_the_work_and_its_errors_are_carried(
    tmp_path: Path, untrained_model: Path
) -> None:
    plan = plan_of(write_jsonl(tmp_path / "in.jsonl", qa_rows(2)))
    (tmp_path / "out").write_bytes(b"a file")
    stage = _model_stage(untrained_model, QA, Parts(resolve(str(tmp_path / "out")), "0123abcd", "parquet"))
    [prepared] = _prepare(untrained_model, plan.layout, QA, [t.with_errors(3) for t in _read(plan)])
    modelled = ShardMessage.from_table(stage(prepared.to_table()))
    assert (modelled.failed_in, modelled.found, modelled.store_errors) == ("", False, 4)
    assert "results" in modelled.payloads
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
        works = PendingUnit.to_table(PendingUnit.left(plan, Committed({}, {}, ())))
        tickets = list(map(ShardMessage.from_table, ReadStage(plan.layout, parameters.storage)(works)))
    assert [ticket.settled for ticket in tickets] == [False] * 3
    assert tickets[0].store_errors > 0
    assert [ticket.store_errors for ticket in tickets[1:]] == [0, 0]


def test_another_model_than_the_drivers_is_refused(untrained_model: Path) -> None:
    from actors.errors import ModelError

    parameters = ModelParameters(name=str(untrained_model), device="cpu")
    with pytest.raises(ModelError, match="differs between machines"):
        ModelStage(OwnModel(parameters, BatchingParameters(), QA, "0" * 64))


def test_workers_that_hold_no_model_do_not_load_torch() -> None:
    show = "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    loaded = f"import sys, pipelines.stages.model; {show}"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
