"""The pipeline as Ray Data plans it."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ray.data._internal.execution.interfaces import PhysicalOperator
from ray.data._internal.logical.optimizers import get_execution_plan

from pipelines.execution.poison_row_search import PoisonRowSearch
from pipelines.execution.ray_pipeline import build, receipts
from pipelines.execution.stage_factory import make_stages
from pipelines.job.job import bind
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import Committed
from pipelines.stages.pending_units import PendingUnit
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, part_rows, write_jsonl
from tests.pipelines.own_stages import with_own_stages

pytestmark = pytest.mark.usefixtures("cluster")

POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=1)


def test_read_prepare_model_and_write_are_operators_of_their_own(tmp_path: Path, untrained_model: Path) -> None:
    """Fused, tokenising would run inside the model actor, and the model would wait for reads."""
    corpus = write_jsonl(tmp_path / "a.jsonl", qa_rows(10))
    job = bind(make_job([corpus], tmp_path / "out", untrained_model), replace=False)
    pending = PendingUnit.left(job.plan, Committed({}, {}, ()))
    dataset = build(make_stages(job, POOL), pending)
    plan, _ = get_execution_plan(dataset._logical_plan)
    names = []
    operator: PhysicalOperator | None = plan.dag
    while operator is not None:
        names.append(operator.name)
        operator = operator.input_dependencies[0] if operator.input_dependencies else None
    stages = [name for name in reversed(names) if "MapBatches" in name]
    assert stages == [f"MapBatches({stage})" for stage in ("ReadStage", "PrepareStage", "ModelStage", "WriteStage")]


def test_stages_of_ones_own_run_in_a_pass_and_in_the_search_for_a_poison_row(
    tmp_path: Path, untrained_model: Path
) -> None:
    corpus = write_jsonl(tmp_path / "a.jsonl", qa_rows(6))
    words = ("corpus.shard_rows=3", "output.storage={auto_mkdir: true}")
    job = bind(make_job([corpus], tmp_path / "out", untrained_model, *words), replace=False)
    stages = with_own_stages(make_stages(job, POOL), broken_by="new-q4")
    found = list(receipts(build(stages, PendingUnit.left(job.plan, job.committed()))))
    assert sorted((receipt.shard.number, receipt.failed_in) for receipt in found) == [(0, ""), (1, "shout")]

    search = PoisonRowSearch(stages, POOL, lambda text: None)
    try:
        [repaired] = search.receipts(PendingUnit.left(job.plan, job.committed()), lambda shard: True)
    finally:
        search.close()
    assert (repaired.rows, repaired.quarantined, repaired.reasons) == (2, 1, {"failed": 1})
    rows = part_rows(tmp_path / "out")
    assert [row["id"] for row in rows] == [f"new-q{i}" for i in (0, 1, 2, 3, 5)]
    answers = [row["answer"] for row in rows if row["answer"]]
    assert answers == [answer.upper() for answer in answers] != []
    [bad] = pq.read_table(tmp_path / "out" / "_quarantine").to_pylist()
    assert (bad["id"], bad["detail"]) == ("q4", "ValueError: cannot shout new-q4")
