"""The spans of a job, by its stages one after the other in this process, as a collector gets them."""

from pathlib import Path

import pytest

from actors.tracing.context import TraceContext
from pipelines.execution.stage_factory import make_stages
from pipelines.execution.stage_list import StageList
from pipelines.job.job import Job, bind
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.stages.messages import SettledMessage, ShardHeader
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.tracing import JobTrace, new_shard, trace_shard, trace_stage, traced_job
from tests.otlp_receiver import Collector
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl
from tests.pipelines.own_stages import with_own_stages
from tests.tracing import collector as collector
from tests.tracing import traced_process as traced_process

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=1)
STAGES = ["read", "prepare", "model", "write"]


def _job(folder: Path, model: Path) -> Job:
    corpus = write_jsonl(folder / "in.jsonl", qa_rows(6))
    return bind(make_job([corpus], folder / "out", model, "corpus.shard_rows=3"), replace=False)


def _run_here(job: Job, stages: StageList) -> list[Receipt]:
    found = []
    later = [stage.open_alone() for stage in (*stages.compute, stages.write)]
    for table in stages.read.stage(PendingUnit.to_table(PendingUnit.left(job.plan, job.committed()))):
        for stage in later:
            table = stage(table)
        found += Receipt.from_table(table)
    return found


def test_a_job_has_shards_and_these_have_stages(
    tmp_path: Path, untrained_model: Path, traced_process: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT)
    job = _job(tmp_path, untrained_model)
    with traced_job("0123abcd", "answer") as trace:
        receipts = _run_here(job, make_stages(job, POOL, trace=trace.context))
        trace.done(6, len(receipts))
    # What the block has made is exported when it ends.
    spans = traced_process.spans()
    assert {span.trace for span in spans} == {PARENT[3:35]}
    [root] = traced_process.spans("job")
    assert (root.parent, root.failed) == (PARENT[36:52], False)
    assert root.attributes == {
        "spanmill.job": "0123abcd",
        "spanmill.task": "answer",
        "spanmill.rows": 6,
        "spanmill.shards": 2,
    }
    shards = traced_process.spans("shard")
    assert [span.parent for span in shards] == [root.id] * 2
    totals = [receipt.stats.total for receipt in receipts]
    assert [span.attributes for span in shards] == [
        {
            "spanmill.shard": f"0-{number}",
            "spanmill.rows": 3,
            "spanmill.windows": total.windows,
            "spanmill.tokens": total.tokens,
        }
        for number, total in enumerate(totals)
    ]
    for shard in shards:
        within = [span for span in spans if span.parent == shard.id]
        assert [span.name for span in within] == STAGES
        assert {span.attributes["spanmill.shard"] for span in within} == {shard.attributes["spanmill.shard"]}
        moments = [shard.began, *(moment for span in within for moment in (span.began, span.ended)), shard.ended]
        assert moments == sorted(moments)
    assert len(spans) == 1 + 2 + 2 * len(STAGES)


def test_a_stage_that_fails_fails_its_shard_and_tells_no_text(
    tmp_path: Path, untrained_model: Path, traced_process: Collector
) -> None:
    job = _job(tmp_path, untrained_model)
    with traced_job("0123abcd", "answer") as trace:
        _run_here(job, with_own_stages(make_stages(job, POOL, trace=trace.context), broken_by="new-q4"))
    good, bad = traced_process.spans("shard")
    assert (good.failed, bad.failed) == (False, True)
    assert bad.attributes["spanmill.failed_in"] == "shout"
    [_, shout] = traced_process.spans("shout")
    assert (shout.failed, shout.attributes["error.type"], shout.parent) == (True, "ValueError", bad.id)
    # A settled shard is handed on: the stages behind did nothing with it.
    assert [span.parent for span in traced_process.spans("write")] == [good.id]
    assert "new-q4" not in repr(traced_process.spans())


def test_a_unit_that_cannot_be_read_has_a_shard_that_failed(
    tmp_path: Path, untrained_model: Path, traced_process: Collector
) -> None:
    job = _job(tmp_path, untrained_model)
    (tmp_path / "in.jsonl").unlink()
    with traced_job("0123abcd", "answer") as trace:
        [receipt] = _run_here(job, make_stages(job, POOL, trace=trace.context))
    assert receipt.failed_in == "read"
    [read], [shard] = traced_process.spans("read"), traced_process.spans("shard")
    assert (read.parent, read.failed, shard.failed) == (shard.id, True, True)


def test_a_shard_that_was_handed_back_is_told_from_one_that_is_done(traced_process: Collector) -> None:
    with traced_job("0123abcd", "embed") as trace:
        header = ShardHeader(ShardId(0, 0, False), "in.jsonl", 0, *new_shard(trace.context, 1))
        trace_shard(trace.context, header, SettledMessage(header, handed_back=True).receipt(1.0))
    [shard] = traced_process.spans("shard")
    assert (shard.failed, shard.attributes["spanmill.handed_back"]) == (False, True)


def test_a_job_that_is_stopped_exports_what_it_has(traced_process: Collector) -> None:
    def run() -> None:
        with traced_job("0123abcd", "embed") as trace:
            header = ShardHeader(ShardId(0, 0, False), "in.jsonl", 0, *new_shard(trace.context, 1))
            trace_stage("model", header, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    [model], [root] = traced_process.spans("model"), traced_process.spans("job")
    assert (root.failed, root.attributes["spanmill.stopped"]) == (False, True)
    assert model.trace == root.trace


def test_a_job_that_fails_says_the_kind(traced_process: Collector) -> None:
    with pytest.raises(ValueError, match="Lovelace"), traced_job("0123abcd", "embed"):
        raise ValueError("Ada Lovelace")
    [root] = traced_process.spans("job")
    assert (root.failed, root.attributes["error.type"], root.message, root.events) == (True, "ValueError", "", 0)


def test_in_a_trace_that_is_not_sampled_nothing_is_made(
    traced_process: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"{PARENT[:-2]}00")
    with traced_job("0123abcd", "embed") as trace:
        assert trace.context is None
        assert new_shard(trace.context, 1) == ("", 0)
    assert traced_process.spans() == []


@pytest.mark.usefixtures("traced_process")
def test_a_worker_whose_job_is_not_traced_makes_nothing() -> None:
    header = ShardHeader(ShardId(0, 0, False), "in.jsonl")
    trace_stage("model", header, 1)
    trace_shard(None, header, SettledMessage(header, found=True).receipt(1.0))
    assert JobTrace().context is None


def test_a_worker_without_the_variables_makes_nothing_of_a_traced_job(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    header = ShardHeader(ShardId(0, 0, False), "in.jsonl", 0, *new_shard(TraceContext(PARENT), 1))
    assert header.trace
    trace_stage("model", header, 1)
    assert collector.requests == 0
