"""What workers are sent."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.serving.types import ModelIdentity
from actors.version import RESULT_PACKAGES, versions_of
from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.execution.stage_factory import make_stages
from pipelines.execution.stage_list import ActorStage, StageList
from pipelines.job.job import Job, bind
from pipelines.job.pool_size import ActorPool
from pipelines.schemas import empty_table
from pipelines.stages.model.node_guard import NodeGuard
from pipelines.stages.model.precision_check import PrecisionCheck
from pipelines.stages.model.runner import OwnModel, SharedModel
from pipelines.stages.write import WriteStage
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import Kind, make_job, write_jsonl

CPU_POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=3)
GPU_POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.5, threads=3)


def _model_stage(stages: StageList) -> ActorStage:
    [found] = [stage for stage in stages.compute if isinstance(stage, ActorStage)]
    return found


def _own(stages: StageList) -> OwnModel:
    """The model that a process of its own loads."""
    [own] = _model_stage(stages).arguments_alone
    assert isinstance(own, OwnModel)
    return own


def _job(folder: Path, model: Path, *words: str, kind: Kind = AnswerConfig) -> Job:
    rows = [{**row, "text": "x", "title": "t"} for row in qa_rows(3)]
    corpus = write_jsonl(folder / "in.jsonl", rows)
    return bind(make_job([corpus], folder / "out", model, *words, kind=kind), replace=False)


@pytest.mark.parametrize(
    ("device", "pool", "chosen"),
    [("auto", CPU_POOL, "cpu"), ("auto", GPU_POOL, "auto"), ("cuda:1", CPU_POOL, "cuda:1"), ("cpu", GPU_POOL, "cpu")],
)
def test_an_actor_without_a_gpu_takes_none(
    tmp_path: Path, untrained_model: Path, device: str, pool: ActorPool, chosen: str
) -> None:
    own = _own(make_stages(_job(tmp_path, untrained_model, f"model.device={device}"), pool))
    assert (own.model.device, own.model.threads) == (chosen, 3)
    assert len(own.fingerprint) == 64


def test_who_runs_the_model(tmp_path: Path, untrained_model: Path) -> None:
    job = _job(tmp_path / "own", untrained_model)
    own = make_stages(job, CPU_POOL)
    guard = NodeGuard(versions_of(RESULT_PACKAGES))
    assert _model_stage(own).arguments == (_own(own), job.parts, True, None, guard), "an actor ends with its device"
    job = _job(
        tmp_path / "shared", untrained_model, "pool.kind=serve", "pool.application=both", "model.precision=exact"
    )
    shared = make_stages(job, replace(CPU_POOL, deployment="model-b"))
    # The replicas look at the packages that compute.
    guard = NodeGuard(versions_of(("tokenizers", "pyarrow")))
    planned = ModelIdentity(job.model.fingerprint, "torch", "float32")
    runner = SharedModel("both", job.task, planned, deployment="model-b")
    assert _model_stage(shared).arguments == (runner, job.parts, True, None, guard)
    assert _own(shared) == _own(own)
    job = _job(tmp_path / "ours", untrained_model, "pool.kind=serve", "pool.tenant=search", "model.precision=exact")
    [ours, *_] = _model_stage(make_stages(job, CPU_POOL)).arguments
    assert ours == SharedModel("spanmill", job.task, planned, "search")


@pytest.mark.parametrize("words", [("model.dtype=bfloat16",), ("model.dtype=bfloat16", "pool.kind=serve")])
def test_half_precision_is_compared_with_float32_on_the_cpu(
    tmp_path: Path, untrained_model: Path, words: tuple[str, ...]
) -> None:
    job = _job(tmp_path, untrained_model, *words)
    stages = make_stages(job, GPU_POOL)
    own, check = _own(stages), _model_stage(stages).arguments[3]
    assert own.model.dtype == "bfloat16"
    assert isinstance(check, PrecisionCheck)
    assert (check.exact.model.dtype, check.exact.model.device) == ("float32", "cpu")
    assert check.exact.fingerprint == own.fingerprint
    assert _model_stage(make_stages(job, GPU_POOL, rehearsal=True)).arguments[3] is None


def test_a_model_is_found_from_any_folder(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(untrained_model.parent)
    model = _own(make_stages(_job(tmp_path, Path(untrained_model.name)), CPU_POOL)).model
    assert model.name == str(untrained_model)
    assert os.path.isabs(model.name)


def test_what_is_written_names_its_model_and_its_job(tmp_path: Path, untrained_model: Path) -> None:
    job = _job(tmp_path, untrained_model, "corpus.carry=[title]", "output.format=jsonl")
    write = make_stages(job, CPU_POOL).write.stage
    assert write.parts == job.parts
    assert write.parts.format == "jsonl"
    assert write.schema.names == ["id", "title", "answer", "score", "start", "end"]
    assert write.metadata["model"] == job.model.fingerprint
    assert write.metadata["config"] == job.manifest.job_id
    assert not write.rehearsal


def test_a_rehearsal_neither_looks_at_parts_nor_writes_them(tmp_path: Path, untrained_model: Path) -> None:
    stages = make_stages(_job(tmp_path, untrained_model), CPU_POOL, rehearsal=True)
    assert _model_stage(stages).arguments[:4] == (_own(stages), None, True, None)
    assert stages.write.stage.rehearsal


def test_stages_can_be_sent(tmp_path: Path, untrained_model: Path) -> None:
    stages = make_stages(_job(tmp_path, untrained_model, kind=EmbedConfig), CPU_POOL)
    there = pickle.loads(pickle.dumps(stages))
    assert (there.read, there.compute[1], there.write) == (stages.read, stages.compute[1], stages.write)
    prepare = there.compute[0].stage
    assert (prepare.qa, prepare.embedding) == (None, EmbedConfig().embedding)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), {}),
        (
            ("embedding={dtype: int8, int8_range: 0.5, dimensions: 64}",),
            {
                "embedding.dtype": "int8",
                "embedding.dimensions": "64",
                "embedding.int8_scale": repr(0.5 / 127),
            },
        ),
        (("embedding.dtype=binary",), {"embedding.dtype": "binary", "embedding.dimensions": "128"}),
        (("embedding.dtype=int8", "output.columns=[tokens]"), {}),
    ],
)
def test_parts_tell_what_the_numbers_of_vectors_stand_for(
    tmp_path: Path, untrained_model: Path, words: tuple[str, ...], told: dict[str, str]
) -> None:
    write = make_stages(_job(tmp_path, untrained_model, *words, kind=EmbedConfig), CPU_POOL).write.stage
    assert isinstance(write, WriteStage)
    metadata = dict(write.metadata)
    assert {metadata.pop(name) for name in ("model", "config", "version")}
    assert metadata == told
    footer = pq.read_metadata(pa.BufferReader(write.parts.encode(empty_table(write.schema), write.metadata))).metadata
    assert {name: footer[f"spanmill.{name}".encode()].decode() for name in told} == told
