"""What `model.backend: auto` may choose between, and what it takes without measuring."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from actors.backends.base import ModelOutput, find_runtime
from actors.backends.precision import FastPrecision, Precision
from actors.errors import ModelError
from actors.models import runtime_choice
from actors.models.hub import find_model
from actors.models.runtime_choice import (
    Candidate,
    Measurement,
    RuntimeChoice,
    candidates,
    in_place_of,
    remember,
    settled_without_measuring,
)
from actors.parameters import ModelParameters
from actors.registry import RUNTIMES
from tests.actors.helpers import GOLDEN, keep_runtimes
from tests.actors.toy_runtimes import FAST_NAME, REFUSED_NAME

LOGITS = frozenset({ModelOutput.LOGITS})
TORCH, FAST, INT8 = Candidate("torch", "float32"), Candidate(FAST_NAME, "float32"), Candidate(FAST_NAME, "int8")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep_runtimes(monkeypatch, "torch", "null")


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast toy beside torch."""
    monkeypatch.setitem(RUNTIMES, FAST_NAME, FAST_NAME)


def _model(**keys: str) -> ModelParameters:
    return ModelParameters(name=str(GOLDEN / "models" / "bert"), backend="auto", device="cpu", **keys)  # type: ignore[arg-type]


def _found(model: ModelParameters, wanted: frozenset[ModelOutput] = LOGITS) -> list[Candidate]:
    return candidates(find_model(runtime_choice.as_baseline(model)), model, wanted, on_gpu=False)


@pytest.mark.usefixtures("toys")
def test_candidates_are_what_the_precision_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _found(_model()) == _found(_model(precision="exact")) == [TORCH, FAST]
    assert _found(_model(dtype="bfloat16")) == [Candidate("torch", "bfloat16")]
    monkeypatch.setattr("actors.backends.pytorch.half_precision.computes_bfloat16", lambda: True)
    assert _found(_model(precision="fast")) == [Candidate("torch", "bfloat16"), TORCH, FAST]


@pytest.mark.usefixtures("toys")
def test_candidates_have_the_outputs_and_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = find_runtime(FAST_NAME)
    monkeypatch.setattr("tests.actors.toy_runtimes.FAST", replace(toy, outputs=LOGITS))
    assert _found(_model(), LOGITS | {ModelOutput.POOLED}) == [TORCH]
    monkeypatch.setattr("tests.actors.toy_runtimes.FAST", replace(toy, packages=("no_such_package",), extra="toys"))
    assert _found(_model()) == [TORCH]
    said = settled_without_measuring(_model(), LOGITS, on_gpu=False)
    assert said.reason == "nothing to compare it with is installed; the extras toys bring more runtimes"
    assert not said.is_open
    with pytest.raises(ModelError, match=r"auto finds no installed runtime .* in int8; .*'spanmill\[toys\]'"):
        settled_without_measuring(_model(dtype="int8"), LOGITS, on_gpu=False)


@pytest.mark.usefixtures("toys")
def test_what_does_not_start_is_left_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fails(device: str) -> bool:
        raise ImportError("libcublas.so.12: cannot open shared object file")

    broken = FastPrecision(fails, lambda folder, on_gpu: Precision("float16", "a toy's"))
    monkeypatch.setattr("tests.actors.toy_runtimes.FAST", replace(find_runtime(FAST_NAME), fast=broken))
    folder = find_model(runtime_choice.as_baseline(_model()))
    assert candidates(folder, _model(precision="fast"), LOGITS, on_gpu=True, names=[FAST_NAME]) == []
    assert caplog.messages[0].startswith("model.backend: auto leaves fast out, which cannot be imported: libcublas")


@pytest.mark.usefixtures("toys")
def test_without_a_measurement_it_is_torch_and_then_what_is_remembered() -> None:
    first = settled_without_measuring(_model(), LOGITS, on_gpu=False)
    assert (first.candidate, first.is_open) == (TORCH, True)
    folder = find_model(_model(dtype="float32").model_copy(update={"backend": "torch"}))
    choice = RuntimeChoice(
        FAST_NAME, "float32", "2 times torch", actors=2, measurements=(Measurement("torch float32"),)
    )
    remember(folder, _model(), False, [TORCH, FAST], choice)
    again = settled_without_measuring(_model(), LOGITS, on_gpu=False)
    assert (again.candidate, again.actors, again.is_open, again.is_remembered) == (FAST, 2, True, True)
    assert again.reason.startswith("as on 20")


@pytest.mark.usefixtures("toys")
def test_a_choice_is_of_one_model_precision_and_set_of_runtimes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = find_model(runtime_choice.as_baseline(_model()))
    remember(folder, _model(), False, [TORCH, FAST], RuntimeChoice(FAST_NAME, "float32", "faster"))

    def chosen(model: ModelParameters) -> str:
        return settled_without_measuring(model, LOGITS, on_gpu=False).backend

    assert chosen(_model()) == FAST_NAME
    assert chosen(_model(precision="exact")) == "torch"
    other = Path(copytree(folder, tmp_path / "other"))
    (other / "vocab.txt").write_text("another")
    assert chosen(_model().model_copy(update={"name": str(other)})) == "torch"
    monkeypatch.setitem(RUNTIMES, REFUSED_NAME, REFUSED_NAME)
    assert chosen(_model()) == "torch", "with another runtime installed it may be another"


@pytest.mark.usefixtures("toys")
def test_what_is_remembered_and_is_no_candidate_is_not_taken() -> None:
    folder = find_model(runtime_choice.as_baseline(_model()))
    remember(folder, _model(), False, [TORCH, FAST], RuntimeChoice(FAST_NAME, "int8", "faster"))
    assert settled_without_measuring(_model(), LOGITS, on_gpu=False).candidate == TORCH


@pytest.mark.usefixtures("toys")
def test_in_place_of_what_cannot_be_loaded_it_is_torch_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    kept = RuntimeChoice(FAST_NAME, "float32", "as on Monday, 2 times torch", actors=2, is_remembered=True)
    found = in_place_of(kept, ModelError("spoilt\nin many ways"), _model(), LOGITS, on_gpu=False)
    why = f"{FAST_NAME} float32, which was chosen before, cannot be loaded now: spoilt"
    assert found == RuntimeChoice("torch", "float32", why, is_open=True)
    assert caplog.messages == [f"model.backend: auto: {why}. torch float32 is taken in its place"]


def test_in_place_of_the_only_one_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, FAST_NAME, FAST_NAME)
    toy = find_runtime(FAST_NAME)
    monkeypatch.setattr("tests.actors.toy_runtimes.FAST", replace(toy, dtypes=frozenset({"int8"})))
    kept = RuntimeChoice(FAST_NAME, "int8", "2 times torch", is_remembered=True)
    with pytest.raises(ModelError, match=r"int8, which was chosen before, cannot be loaded now: spoilt"):
        in_place_of(kept, ModelError("spoilt"), _model(dtype="int8"), LOGITS, on_gpu=False)


def test_a_choice_goes_into_a_manifest_and_back() -> None:
    choice = RuntimeChoice(
        "torch", "float32", "why", 2, (Measurement("torch float32", 2, 1, 3.5, 1.0, "chosen"),), 4.0, 8
    )
    assert RuntimeChoice.from_json(choice.to_json()) == choice
    assert str(choice) == "torch float32, 2 actors side by side: why"
