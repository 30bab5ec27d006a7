"""The runtime of a job that leaves it open, before anything is measured."""

from pathlib import Path

import pytest

from actors.backends.base import ModelOutput
from actors.errors import ModelError
from actors.models.hub import find_model
from actors.models.runtime_choice import Candidate, RuntimeChoice, as_baseline, candidates, remember
from actors.parameters import ModelParameters
from actors.registry import RUNTIMES
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.errors import ManifestError
from pipelines.job import service_check
from pipelines.job.job import bind, in_runtime
from pipelines.job.runtime import begun_runtime, job_runtime, with_runtime
from pipelines.output.manifest import Manifest
from tests.actors.helpers import keep_runtimes
from tests.actors.toy_runtimes import FAST_NAME, REFUSED_NAME
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl

LOGITS = frozenset({ModelOutput.LOGITS})


@pytest.fixture(autouse=True)
def _torch_and_a_toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    keep_runtimes(monkeypatch, "torch")
    monkeypatch.setitem(RUNTIMES, FAST_NAME, FAST_NAME)


def _begun(backend: str, actors: int = 1) -> Manifest:
    name, dtype = backend.split(" ")
    runtime = RuntimeChoice(name, dtype, "measured", actors).to_json()
    return Manifest(
        kind="answer",
        model="a1",
        backend=backend,
        results={},
        output_schema="",
        plan={},
        created="",
        spanmill="",
        runtime=runtime,
    )


@pytest.mark.parametrize(
    ("begun", "keys", "goes_on"),
    [
        ("quick int8", {}, True),
        ("quick int8", {"precision": "fast"}, True),
        ("quick int8", {"precision": "exact"}, False),
        ("quick float32", {"precision": "exact"}, True),
        ("quick float32", {"precision": "fast"}, True),
        ("quick float32", {"dtype": "int8"}, False),
        ("quick float32", {"backend": "torch"}, False),
    ],
)
def test_a_job_goes_on_in_its_runtime_where_its_precision_allows(
    begun: str, keys: dict[str, str], goes_on: bool
) -> None:
    found = begun_runtime(ModelParameters.model_validate({"backend": "auto"} | keys), _begun(begun, actors=2))
    assert (found is not None) is goes_on
    if found is not None:
        assert str(found) == f"{begun}, 2 actors side by side: as the job was begun"


def test_a_job_on_a_service_takes_its_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_check, "service_runtime", lambda *_: Candidate("quick", "int8"))
    for words, dtype in (((), "int8"), (("model.precision=exact",), "float32")):
        config = load_config(AnswerConfig, None, ["model.backend=auto", "pool.kind=serve", *words])
        found = job_runtime(config, LOGITS, None, on_gpu=False)
        assert (found.candidate, found.is_open) == (Candidate("quick", dtype), False)
        assert with_runtime(config, found).model == Candidate("quick", dtype).of(config.model)


def test_a_job_is_planned_in_torch_and_may_be_bound_in_another_runtime(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", qa_rows(3))
    job = make_job([corpus], tmp_path / "out", untrained_model, "model.backend=auto")
    assert job.model.runtime is not None
    assert (job.runtime, job.model.runtime.is_open) == (Candidate("torch", "float32"), True)
    assert job.manifest.backend == "torch float32"
    in_torch = job.manifest.job_id
    quick = in_runtime(job, RuntimeChoice(FAST_NAME, "float32", "2 times torch float32"))
    assert quick.manifest.job_id != in_torch
    bound = bind(quick, replace=False)
    assert bound.manifest.backend == f"{FAST_NAME} float32"
    # Whoever names torch asks for another job, and is told so; whoever leaves it open goes on.
    with pytest.raises(
        ManifestError, match=r'precision: "tests\.actors\.toy_runtimes:FAST float32" -> "torch float32"'
    ):
        bind(make_job([corpus], tmp_path / "out", untrained_model), replace=False)
    again = bind(make_job([corpus], tmp_path / "out", untrained_model, "model.backend=auto"), replace=False)
    assert again.manifest == bound.manifest


def test_a_remembered_runtime_that_cannot_be_loaded_leaves_a_job_open(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(RUNTIMES, REFUSED_NAME, REFUSED_NAME)
    model = ModelParameters(name=str(untrained_model), backend="auto")
    folder = find_model(as_baseline(model))
    found = candidates(folder, model, LOGITS, on_gpu=False)
    remember(folder, model, False, found, RuntimeChoice(REFUSED_NAME, "float32", "2 times torch float32"))
    corpus = write_jsonl(tmp_path / "in.jsonl", qa_rows(3))

    job = make_job([corpus], tmp_path / "out", untrained_model, "model.backend=auto")
    assert job.runtime == Candidate("torch", "float32")
    assert job.model.runtime is not None
    assert job.model.runtime.is_open, "a long job still measures"
    assert "cannot be loaded now: its logits are 0.3 off torch's" in job.model.runtime.reason
    assert caplog.messages == [f"model.backend: auto: {job.model.runtime.reason}. torch float32 is taken in its place"]

    # A job that was begun in it has no other: one output has one runtime.
    bind(in_runtime(job, RuntimeChoice(REFUSED_NAME, "float32", "2 times torch float32")), replace=False)
    with pytest.raises(ModelError, match=r"its logits are 0\.3 off torch's"):
        make_job([corpus], tmp_path / "out", untrained_model, "model.backend=auto")
