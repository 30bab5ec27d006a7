"""A stage of one's own goes into the list of stages from outside, and whoever goes through the list runs it."""

from functools import reduce
from pathlib import Path

from pipelines.execution.stage_factory import make_stages
from pipelines.execution.stage_list import StageList
from pipelines.job.job import Job, bind
from pipelines.job.pool_size import ActorPool
from pipelines.output.receipt import Receipt
from pipelines.stages.messages import SettledMessage
from pipelines.stages.pending_units import PendingUnit
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, part_rows, write_jsonl
from tests.pipelines.own_stages import ShoutStage, with_own_stages

POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=1)


def _job(folder: Path, model: Path) -> Job:
    corpus = write_jsonl(folder / "in.jsonl", qa_rows(6))
    words = ("corpus.shard_rows=3", "output.storage={auto_mkdir: true}")
    return bind(make_job([corpus], folder / "out", model, *words), replace=False)


def _run_here(job: Job, stages: StageList) -> list[Receipt]:
    """The stages one after the other in this process, as the search for a poison row runs them in its worker."""
    later = [stage.open_alone() for stage in (*stages.compute, stages.write)]
    tables = stages.read.stage(PendingUnit.to_table(PendingUnit.left(job.plan, job.committed())))
    done = [reduce(lambda message, stage: stage(message), later, table) for table in tables]
    return [receipt for table in done for receipt in Receipt.from_table(table)]


def _check(folder: Path, ids: list[str]) -> None:
    rows = part_rows(folder)
    assert [row["id"] for row in rows] == ids
    answers = [row["answer"] for row in rows if row["answer"]]
    assert answers
    assert answers == [answer.upper() for answer in answers]


def test_stages_of_ones_own_run_with_the_others(tmp_path: Path, untrained_model: Path) -> None:
    job = _job(tmp_path, untrained_model)
    stages = with_own_stages(make_stages(job, POOL))
    assert [stage.name for stage in stages] == ["read", "prepare", "rename", "model", "shout", "write"]
    assert [stages.is_compute(stage.name) for stage in stages] == [False, True, True, True, True, False]
    found = _run_here(job, stages)
    assert [(receipt.rows, receipt.failed_in) for receipt in found] == [(3, ""), (3, "")]
    _check(tmp_path / "out", [f"new-q{i}" for i in range(6)])


def test_what_a_stage_of_ones_own_cannot_do_is_that_shards_failure(tmp_path: Path, untrained_model: Path) -> None:
    job = _job(tmp_path, untrained_model)
    found = _run_here(job, with_own_stages(make_stages(job, POOL), broken_by="new-q4"))
    assert [(receipt.failed_in, receipt.error) for receipt in found] == [
        ("", ""),
        ("shout", "ValueError: cannot shout new-q4"),
    ]
    _check(tmp_path / "out", [f"new-q{i}" for i in range(3)])


def test_a_stage_in_the_wrong_place_says_what_it_was_given(tmp_path: Path, untrained_model: Path) -> None:
    job = _job(tmp_path, untrained_model)
    stages = make_stages(job, POOL)
    prepare, _ = stages.compute
    [table, _] = stages.read.stage(PendingUnit.to_table(PendingUnit.left(job.plan, job.committed())))
    settled = SettledMessage.found_in(ShoutStage()(prepare.open()(table)))
    assert settled is not None
    assert settled.failed_in == "shout"
    assert "a ResultsMessage was expected" in settled.error
