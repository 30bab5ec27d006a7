"""Runtimes by name: those that are built in, and one that another package brings."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from actors.backends.base import ModelOutput, find_runtime
from actors.engine.inference_task import Wanted
from actors.errors import ModelError
from actors.model_actor import ModelActor
from actors.models.hub import find_model, fingerprint
from actors.models.loading import load_backend, load_engine
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.registry import RUNTIMES
from actors.tokenization.preprocess import prepare_texts
from tests.actors.helpers import GOLDEN, answers_of, prepare, strings

BERT = GOLDEN / "models" / "bert"
QA = QAParameters()
PAIRS = [("Who lit the lamp?", "Agnes Bell lit it in 1837."), ("How many goats?", "Ada keeps three goats.")]

TOY = '''
"""A model that is one table: every token's start and end logit."""

import numpy as np

from actors.backends.base import BatchLayout, ModelOutput, PassOutput, Runtime, SynchronousBackend
from actors.errors import ModelError


class Table(SynchronousBackend):
    device, hidden_size, memory_limit, layout = "cpu", 4, None, BatchLayout.PADDED

    def __init__(self, logits):
        self.logits = logits

    def forward(self, batch, want_spans, pool_weights, want_hidden=False):
        start, end = np.moveaxis(self.logits[batch.input_ids % len(self.logits)], -1, 0)
        return PassOutput(start, end, None, None)


def load(folder, model, with_qa_head):
    if not (folder / "toy.bin").is_file():
        raise ModelError(f"{folder} holds no toy.bin")
    return Table(np.fromfile(folder / "toy.bin", np.float32).reshape(-1, 2))


RUNTIME = Runtime("toy", load, weights=("toy.bin",), outputs=frozenset({ModelOutput.LOGITS}))
POOLING = Runtime("pooling toy", load, weights=("toy.bin",), outputs=frozenset({ModelOutput.POOLED}))
NONE = "no runtime"
'''
MODEL = ModelParameters(name="toy", backend="toy_package:RUNTIME")


@pytest.fixture(autouse=True)
def _toy_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_package.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """BERT's config and tokenizer, its own weights, and those of the toy."""
    folder = Path(copytree(BERT, tmp_path / "model"))
    np.random.default_rng(1).normal(0, 3, (100, 2)).astype(np.float32).tofile(folder / "toy.bin")
    return folder


@pytest.fixture
def memory(folder: Path) -> Iterator[MemoryFileSystem]:
    """That folder at memory://models/toy."""
    fs = fsspec.filesystem("memory")
    fs.put(str(folder), "/models/toy", recursive=True)
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_built_in_name_is_a_runtime_of_that_name(name: str) -> None:
    assert find_runtime(name).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "onnx",
            r"there is no 'onnx'; there are torch, onnxruntime, openvino, ctranslate2, null, or package\.module:OBJECT",
        ),
        ("no_such_package:RUNTIME", r"model\.backend: no_such_package:RUNTIME cannot be imported"),
        ("toy_package:NONE", r"model\.backend: toy_package:NONE is a str and no actors\.backends\.base\.Runtime"),
    ],
)
def test_what_is_no_runtime_is_named(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_runtime(name)


def test_a_runtime_of_another_package_answers(folder: Path) -> None:
    engine = load_engine(folder, MODEL, BatchingParameters(), with_qa_head=True)
    prepared, _ = prepare(engine.spec, QA, PAIRS)
    answers = engine.answer(prepared, QA).answers
    assert answers is not None
    found = [answer for (answer,) in answers_of(answers)]
    assert [context[a.start : a.end] for a, (_, context) in zip(found, PAIRS, strict=True)] == [a.text for a in found]
    # Another table, another answer: it is the toy's own weights that speak.
    np.random.default_rng(2).normal(0, 3, (100, 2)).astype(np.float32).tofile(folder / "toy.bin")
    others = load_engine(folder, MODEL, BatchingParameters(), with_qa_head=True).answer(prepared, QA).answers
    assert others is not None
    assert [answer.score for (answer,) in answers_of(others)] != [answer.score for answer in found]


def test_a_model_actor_runs_it_and_knows_its_fingerprint(folder: Path) -> None:
    model = MODEL.model_copy(update={"name": str(folder)})
    expected = fingerprint(folder, MODEL.backend)
    actor = ModelActor(model, BatchingParameters(), with_qa_head=True, expected=expected)
    table, stats = actor.process(prepare(actor.engine.spec, QA, PAIRS)[0].to_ipc(), Wanted(QA))
    assert table.schema.names == ["answer", "score", "start", "end"]
    assert stats.total.windows == 2
    (folder / "toy.bin").write_bytes(bytes(800))
    with pytest.raises(ModelError, match="differs between machines"):
        ModelActor(model, BatchingParameters(), with_qa_head=True, expected=expected)


def test_its_fingerprint_follows_its_own_weights_alone(folder: Path) -> None:
    toy, torch = fingerprint(folder, MODEL.backend), fingerprint(folder, "torch")
    assert toy != torch
    (folder / "model.safetensors").write_bytes(b"another")
    assert fingerprint(folder, MODEL.backend) == toy
    assert fingerprint(folder, "torch") != torch
    torch = fingerprint(folder, "torch")
    (folder / "toy.bin").write_bytes(bytes(800))
    assert fingerprint(folder, MODEL.backend) != toy
    assert fingerprint(folder, "torch") == torch


def test_its_own_weights_alone_are_copied_from_a_url(
    folder: Path, memory: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = MODEL.model_copy(update={"name": "memory://models/toy"})
    copied = find_model(model)
    assert {path.name for path in folder.iterdir()} - {path.name for path in copied.iterdir()} == {"model.safetensors"}
    assert fingerprint(copied, MODEL.backend) == fingerprint(folder, MODEL.backend)
    memory.pipe_file("/models/toy/toy.bin", bytes(800))
    assert find_model(model) != copied


def test_an_output_that_a_runtime_does_not_give_is_refused(folder: Path) -> None:
    engine = load_engine(folder, MODEL, BatchingParameters(), with_qa_head=True)
    prepared, _ = prepare_texts(engine.spec, EmbeddingParameters(), strings(["Ada keeps three goats."]))
    with pytest.raises(ModelError, match=r"pooled vectors cannot be had of .*, only logits; choose .*model\.backend"):
        engine.embed(prepared, EmbeddingParameters())
    pooling = MODEL.model_copy(update={"backend": "toy_package:POOLING"})
    with pytest.raises(ModelError, match=r"logits cannot be had of .*, only pooled vectors"):
        load_backend(folder, pooling, with_qa_head=True)


@pytest.mark.usefixtures("conversions")
@pytest.mark.parametrize("backend", RUNTIMES)
def test_a_model_that_is_loaded_without_its_head_is_asked_for_no_answers(folder: Path, backend: str) -> None:
    model = ModelParameters(backend=backend, device="cpu")
    engine = load_engine(folder, model, BatchingParameters(), with_qa_head=False)
    prepared, _ = prepare(engine.spec, QA, PAIRS)
    with pytest.raises(ModelError, match="logits cannot be had"):
        engine.answer(prepared, QA)


def test_what_a_task_needs_of_a_pass() -> None:
    assert Wanted(QA, EmbeddingParameters()).outputs == {ModelOutput.LOGITS, ModelOutput.POOLED}
    assert Wanted(window_states=True).outputs == {ModelOutput.LAST_HIDDEN}


def test_a_runtime_that_is_not_installed_says_what_to_install() -> None:
    absent = replace(find_runtime("null"), packages=("no_such_package",), extra="toys")
    assert not absent.is_installed
    assert find_runtime("null").is_installed
    with pytest.raises(ModelError, match=r"no_such_package, which is not installed here; .* 'spanmill\[toys\]'"):
        absent.check_installed()


def test_a_type_that_a_runtime_does_not_compute_in(untrained_model: Path) -> None:
    with pytest.raises(ModelError, match="int8 is nothing that the runtime torch computes in; it knows bfloat16, fl"):
        load_backend(untrained_model, ModelParameters(dtype="int8"), with_qa_head=True)
