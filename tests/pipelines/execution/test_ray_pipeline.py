"""The pipeline as Ray Data plans it."""

from pathlib import Path

import pytest
from ray.data._internal.execution.interfaces import PhysicalOperator
from ray.data._internal.logical.optimizers import get_execution_plan

from pipelines.execution.ray_pipeline import build
from pipelines.execution.stage_factory import make_stages
from pipelines.job.job import bind
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import Committed
from pipelines.stages.pending_units import PendingUnit
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl


@pytest.mark.usefixtures("cluster")
def test_read_prepare_model_and_write_are_operators_of_their_own(tmp_path: Path, untrained_model: Path) -> None:
    """Fused, tokenising would run inside the model actor, and the model would wait for reads."""
    corpus = write_jsonl(tmp_path / "a.jsonl", qa_rows(10))
    job = bind(make_job([corpus], tmp_path / "out", untrained_model), replace=False)
    works = PendingUnit.left(job.plan, Committed({}, {}, ()))
    pool = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=1)
    dataset = build(make_stages(job, pool), pool, works)
    plan, _ = get_execution_plan(dataset._logical_plan)
    names = []
    operator: PhysicalOperator | None = plan.dag
    while operator is not None:
        names.append(operator.name)
        operator = operator.input_dependencies[0] if operator.input_dependencies else None
    stages = [name for name in reversed(names) if "MapBatches" in name]
    assert stages == [f"MapBatches({stage})" for stage in ("ReadStage", "PrepareStage", "ModelStage", "WriteStage")]
