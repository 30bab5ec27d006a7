"""What workers are sent."""

import os
import pickle
from pathlib import Path

import pytest

from pipelines.config.job import AnswerConfig, EmbedConfig
from pipelines.execution.stage_factory import make_stages
from pipelines.job.job import Job, bind
from pipelines.job.pool_size import ActorPool
from pipelines.stages.model_runner import SharedModel
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import Kind, make_job, write_jsonl

CPU_POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=3)
GPU_POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.5, threads=3)


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
    own = make_stages(_job(tmp_path, untrained_model, f"model.device={device}"), pool).own
    assert (own.model.device, own.model.threads) == (chosen, 3)
    assert len(own.fingerprint) == 64


def test_who_runs_the_model(tmp_path: Path, untrained_model: Path) -> None:
    own = make_stages(_job(tmp_path / "own", untrained_model), CPU_POOL)
    assert own.model == own.own
    job = _job(tmp_path / "shared", untrained_model, "pool.kind=serve", "pool.application=both")
    shared = make_stages(job, CPU_POOL)
    assert shared.model == SharedModel("both", job.task)
    assert shared.own == own.own


def test_a_model_is_found_from_any_folder(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(untrained_model.parent)
    model = make_stages(_job(tmp_path, Path(untrained_model.name)), CPU_POOL).own.model
    assert model.name == str(untrained_model)
    assert os.path.isabs(model.name)


def test_what_is_written_names_its_model_and_its_job(tmp_path: Path, untrained_model: Path) -> None:
    job = _job(tmp_path, untrained_model, "corpus.carry=[title]", "output.format=jsonl")
    stages = make_stages(job, CPU_POOL)
    assert stages.write.parts == stages.known_parts == job.parts
    assert stages.write.parts.format == "jsonl"
    assert stages.write.schema.names == ["id", "title", "answer", "score", "start", "end"]
    assert stages.write.metadata["model"] == job.model.fingerprint
    assert stages.write.metadata["config"] == job.manifest.job_id
    assert not stages.write.rehearsal


def test_a_rehearsal_neither_looks_at_parts_nor_writes_them(tmp_path: Path, untrained_model: Path) -> None:
    stages = make_stages(_job(tmp_path, untrained_model), CPU_POOL, rehearsal=True)
    assert stages.known_parts is None
    assert stages.write.rehearsal


def test_stages_can_be_sent(tmp_path: Path, untrained_model: Path) -> None:
    stages = make_stages(_job(tmp_path, untrained_model, kind=EmbedConfig), CPU_POOL)
    there = pickle.loads(pickle.dumps(stages))
    assert (there.read, there.model, there.known_parts) == (stages.read, stages.model, stages.known_parts)
    assert (there.prepare.qa, there.prepare.embedding) == (None, stages.prepare.embedding)
