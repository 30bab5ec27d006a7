"""`model.backend: auto` of whole jobs, on a local cluster with a cache of its own."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from actors.backends.base import ModelOutput
from actors.models.hub import find_model
from actors.models.runtime_choice import Candidate, RuntimeChoice, as_baseline, candidates, remember
from actors.parameters import ModelParameters
from actors.registry import RUNTIMES
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.execution.runtimes.choice import settled_runtime
from pipelines.job.job import Job, bind, plan_job
from pipelines.job.ray_cluster import cluster_size
from tests.actors.helpers import keep_runtimes
from tests.actors.toy_runtimes import DEADLY_NAME, FAST_NAME, REFUSED_NAME, UNPOOLED_NAME
from tests.pipelines.jobs import mixed_rows, write_jsonl

pytestmark = pytest.mark.usefixtures("cluster")

ENOUGH = 1e6
"""A share of the forecast time that makes any job long enough to measure."""


@pytest.fixture
def cache(conversions: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where driver and cluster remember choices; torch and two toys are what is compared."""
    keep_runtimes(monkeypatch, "torch")
    for name in (REFUSED_NAME, FAST_NAME):
        monkeypatch.setitem(RUNTIMES, name, name)
    return conversions.parent / "runtimes"


@contextmanager
def _settled(folder: Path, model: Path, *words: str, share: float = ENOUGH) -> Iterator[Job]:
    config = load_config(AnswerConfig, None, [f"model.name={model}", "model.backend=auto", "model.threads=1", *words])
    job = plan_job([str(folder / "in.jsonl")], str(folder / "out"), config, None)
    with settled_runtime(job, config, Console(file=io.StringIO()), share) as settled:
        yield settled


def _remember(model: Path, choice: RuntimeChoice) -> None:
    asked = ModelParameters(name=str(model), backend="auto")
    place = find_model(as_baseline(asked))
    found = candidates(place, asked, frozenset({ModelOutput.LOGITS}), on_gpu=False)
    remember(place, asked, False, found, choice)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the input of a job."""
    write_jsonl(tmp_path / "job" / "in.jsonl", mixed_rows(12))
    return tmp_path / "job"


@pytest.mark.more
def test_the_fastest_is_chosen_said_kept_and_stays(folder: Path, cache: Path, untrained_model: Path) -> None:
    with _settled(folder, untrained_model) as job:
        bound = bind(job, replace=False)
    choice = bound.model.runtime
    assert choice is not None
    assert (choice.backend, choice.dtype) == (FAST_NAME, "float32")
    assert " times torch float32 (1 actor of 1 thread; measured on " in choice.reason
    # What cannot be used is named, with the reason, and costs the job nothing.
    verdicts = {one.runtime: one.verdict for one in choice.measurements}
    assert verdicts[f"{REFUSED_NAME} float32"] == "its logits are 0.3 off torch's, more than 0.01"
    assert verdicts[f"{FAST_NAME} float32"] == "chosen"
    stored = json.loads((folder / "out" / "_manifest.json").read_text())
    assert stored["backend"] == f"{FAST_NAME} float32"
    assert stored["runtime"]["measurements"] == [asdict(one) for one in choice.measurements]

    # The next job that is too short for measuring takes it.
    other = folder.parent / "short"
    write_jsonl(other / "in.jsonl", mixed_rows(4))
    with _settled(other, untrained_model, share=0.02) as short:
        assert short.model.runtime is not None
        assert short.runtime.backend == FAST_NAME
        assert "too short to compare" in short.model.runtime.reason

    # A job that goes on keeps its runtime, whatever is remembered by then.
    for kept in cache.iterdir():
        kept.write_text("{")
    with _settled(folder, untrained_model) as again:
        assert bind(again, replace=False).manifest.job_id == bound.manifest.job_id
        assert again.model.runtime is not None
        assert str(again.model.runtime) == f"{FAST_NAME} float32: as the job was begun"
    with _settled(other, untrained_model, share=0.02) as forgotten:
        assert forgotten.runtime.backend == "torch"


@pytest.mark.more
@pytest.mark.usefixtures("cache")
def test_candidates_have_all_threads_also_where_the_last_choice_was_several_actors(
    folder: Path, untrained_model: Path
) -> None:
    _remember(untrained_model, RuntimeChoice(FAST_NAME, "float32", "2 times torch float32", actors=2))
    with _settled(folder, untrained_model, "model.threads=null") as job:
        assert job.model.runtime is not None
        alone = {one.runtime: one.threads for one in job.model.runtime.measurements if one.actors == 1}
    assert alone["torch float32"] == alone[f"{FAST_NAME} float32"] == int(cluster_size()[0]["CPU"])


@pytest.mark.usefixtures("cache")
def test_what_the_pool_cannot_load_is_not_taken_unmeasured(
    folder: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(RUNTIMES, UNPOOLED_NAME, UNPOOLED_NAME)
    _remember(untrained_model, RuntimeChoice(UNPOOLED_NAME, "float32", "2 times torch float32"))
    # With an address, what a machine of the cluster remembers is looked at.
    with _settled(folder, untrained_model, "ray.address=auto", share=0.02) as job:
        assert job.runtime == Candidate("torch", "float32")
        assert job.model.runtime is not None
        said = f"{UNPOOLED_NAME} float32 cannot be loaded in the pool: no room for it here"
        assert job.model.runtime.reason.startswith(f"{said}; ")
        assert "too short to compare" in job.model.runtime.reason
        assert job.model.runtime.reason.count(said) == 1
    assert f"model.backend: auto: {said}" in caplog.messages


@pytest.mark.more
@pytest.mark.usefixtures("cache")
def test_one_that_crashes_is_left_out(folder: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, DEADLY_NAME, DEADLY_NAME)
    with _settled(folder, untrained_model) as job:
        assert job.model.runtime is not None
        assert job.runtime.backend == FAST_NAME
        verdicts = {one.runtime: one.verdict for one in job.model.runtime.measurements}
    assert verdicts[f"{DEADLY_NAME} float32"] == "its process ended: it crashed, or had no memory left"
    assert verdicts[f"{FAST_NAME} float32"] == "chosen"


def test_torch_alone_is_compared_with_nothing(
    folder: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_runtimes(monkeypatch, "torch")
    with _settled(folder, untrained_model) as job:
        assert str(job.model.runtime) == "torch float32: nothing to compare it with is installed"
