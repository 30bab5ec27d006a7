"""One precision for all of a job's output, whatever machines it is begun and resumed on."""

import json
from pathlib import Path

import pytest

from actors.errors import ModelError
from pipelines.errors import ManifestError
from pipelines.job.job import Job, bind
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that is named, nor one that other tests of this process have connected to."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "in.jsonl", qa_rows(3))


def _plan(corpus: Path, model: Path, *words: str) -> Job:
    return make_job([corpus], corpus.parent / "out", model, *words)


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        (("model.device=cpu",), "float32"),
        (("pool.gpus=0",), "float32"),
        (("model.device=cuda",), "float16"),
        (("model.device=cuda", "model.precision=exact"), "float32"),
        (("model.device=cuda", "model.dtype=bfloat16"), "bfloat16"),
        (("model.device=cuda", "model.backend='null'"), "float32"),
        (("model.dtype=bfloat16",), "bfloat16"),
    ],
)
def test_a_job_is_exact_on_cpus_and_half_on_gpus(
    corpus: Path, untrained_model: Path, words: tuple[str, ...], dtype: str
) -> None:
    job = _plan(corpus, untrained_model, *words)
    assert job.model.precision.dtype == dtype
    assert job.manifest.backend == f"{job.config.model.backend} {dtype}"
    assert job.model.precision.reason


@pytest.mark.parametrize("begun", ["float32", "float16", "bfloat16"])
def test_a_job_stays_at_what_it_was_begun_with(corpus: Path, untrained_model: Path, begun: str) -> None:
    first = bind(_plan(corpus, untrained_model, f"model.dtype={begun}"), replace=False)
    for words in ((), ("model.device=cuda",), ("model.device=cpu",)):
        again = bind(_plan(corpus, untrained_model, *words), replace=False)
        assert again.manifest == first.manifest
        assert (again.model.precision.dtype, again.model.precision.reason) == (begun, "as the job was begun")
    stored = json.loads((corpus.parent / "out" / "_manifest.json").read_text())
    assert stored["backend"] == f"torch {begun}", "as in manifests from before there was model.precision"


def test_fast_goes_on_with_any_half_precision_and_not_with_float32(corpus: Path, untrained_model: Path) -> None:
    fast = ("model.precision=fast", "model.device=cuda")
    bind(_plan(corpus, untrained_model, "model.dtype=bfloat16"), replace=False)
    assert bind(_plan(corpus, untrained_model, *fast), replace=False).model.precision.dtype == "bfloat16"
    bind(_plan(corpus, untrained_model, "model.precision=exact"), replace=True)
    with pytest.raises(ManifestError, match=r'model\.precision: "torch float32" -> "torch float16"'):
        bind(_plan(corpus, untrained_model, *fast), replace=False)


def test_a_job_that_replaces_another_does_not_take_its_precision(corpus: Path, untrained_model: Path) -> None:
    output = corpus.parent / "out"
    bind(_plan(corpus, untrained_model, "model.dtype=bfloat16"), replace=False)
    anew = make_job([corpus], output, untrained_model, anew=True)
    assert bind(anew, replace=True).manifest.backend == "torch float32"
    (output / "_manifest.json").write_text("{")
    assert _plan(corpus, untrained_model).model.precision.dtype == "float32", "what is damaged is for `bind` to say"


def test_a_runtime_that_is_not_fast_says_so_before_anything_runs(corpus: Path, untrained_model: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.precision: fast asks for more than the runtime null can do"):
        _plan(corpus, untrained_model, "model.backend='null'", "model.precision=fast")
