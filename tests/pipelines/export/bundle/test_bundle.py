"""A bundle: what is in it, that it runs where nothing else of ours is, and what is refused."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.utils._paths import filter_repo_objects
from packaging.requirements import Requirement
from rich.console import Console
from transformers import PreTrainedTokenizerFast

from actors.backends.pytorch.torch_weights import load_model
from actors.errors import ModelError, NoModelError
from actors.export.endpoint_settings import read_settings
from actors.models.hub import find_model
from actors.models.loading import load_spec
from actors.parameters import ModelParameters
from pipelines.errors import ConfigError, StorageError
from pipelines.export.bundle import bundle as bundling
from pipelines.export.bundle import trial
from pipelines.export.bundle.bundle import MODULES, Request, bundle, handler_closure, weights_to_copy
from pipelines.storage.filesystem import resolve, write_atomic
from tests.actors.helpers import GOLDEN
from tests.pipelines.export.conftest import files_in
from tests.pipelines.s3_server import S3Server

BERT = str(GOLDEN / "models" / "bert")
pytestmark = pytest.mark.together
TRY_HANDLER = bundling._try_handler
LOVELACE = "Ada Lovelace was born in London in 1815."
WHERE = {"question": "Where was Ada Lovelace born?", "context": LOVELACE}
ALONE = """
import runpy, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent} else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""
ABSENT = ("ray", "pipelines", "spanmill", "fastapi", "starlette", "orjson", "onnxruntime", "openvino", "ctranslate2")
TOOLKIT_IGNORES = (
    "pytorch*",
    "tf*",
    "flax*",
    "rust*",
    "*onnx*",
    "*mlmodel",
    "*tflite",
    "*tar.gz",
    "*openvino*",
    "*ckpt",
)
"""What huggingface-inference-toolkit 0.5.6 leaves out when it downloads a repository that has safetensors."""
IMAGE = {
    "torch": "2.5.1",
    "transformers": "4.51.3",
    "tokenizers": "0.21.4",
    "numpy": "1.26.4",
    "safetensors": "0.8.0",
    "pyarrow": "25.0.1",
    "pydantic": "2.14.4",
}
"""What its image pins, or allows beside that; all but torch are what bundles were tried with."""


def _run(request: Request) -> tuple[str, list[str]]:
    """What is printed, and what is said meanwhile."""
    file, said = io.StringIO(), list[str]()
    bundle(request, Console(file=file, width=400, highlight=False, markup=False), said.append)
    return file.getvalue(), said


def _request(output: Path | str, model: str | Path = BERT, **rest: Any) -> Request:
    return Request(ModelParameters(name=str(model)), str(output), **rest)


def ask(folder: Path, requests: Sequence[object]) -> list[dict[str, Any]]:
    """What the handler of a bundle says, in a Python that finds neither Spanmill nor Ray; first of itself."""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", ALONE.format(absent=ABSENT), trial.__file__, str(folder)],
        input="".join(f"{json.dumps(request)}\n" for request in requests),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert replies, done.stderr
    return replies


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the model that ships."""
    output = tmp_path_factory.mktemp("minilm") / "bundle"
    _run(_request(output, "minilm-qa"))
    return output


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the trial out, where a test is about something else: it takes seconds."""
    monkeypatch.setattr(bundling, "_try_handler", lambda folder: None)


def test_it_runs_anywhere_where_neither_spanmill_nor_ray_is(minilm: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(minilm, tmp_path / "repository"))
    ready, one, many, vectors, wrong, empty = ask(
        moved,
        [
            {"inputs": WHERE},
            {"inputs": [WHERE, WHERE], "parameters": {"top_k": 2}},
            {"inputs": [LOVELACE, "The mill stands by the river."]},
            {"inputs": {"question": "Where?"}},
            {"inputs": []},
        ],
    )
    assert ready == {"reply": "ready"}
    assert one["reply"]["answer"] == "London"
    assert LOVELACE[one["reply"]["start"] : one["reply"]["end"]] == "London"
    assert [row[0]["answer"] for row in many["reply"]] == ["London", "London"]
    assert np.array(vectors["reply"]).shape == (2, 384)
    assert wrong == {"error": "inputs.context: field required"}
    assert empty == {"error": "there are no inputs; send one at least"}


def test_nothing_in_it_knows_where_it_was_written(minilm: Path) -> None:
    for name in files_in(minilm):
        assert str(minilm.parent).encode() not in (minilm / name).read_bytes(), name


def test_what_is_in_it(minilm: Path) -> None:
    modules = {f"{MODULES}/{module.place.as_posix()}" for module in handler_closure().modules}
    assert files_in(minilm) - modules - {f"{MODULES}/LICENSE"} == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("handler.py", "requirements.txt", "README.md", "_bundle.json"),
    }
    assert modules <= files_in(minilm)
    assert all(
        (minilm / MODULES / module.place).read_bytes() == module.file.read_bytes()
        for module in handler_closure().modules
    )


def test_the_toolkit_downloads_all_of_it(minilm: Path) -> None:
    names = files_in(minilm)
    assert set(filter_repo_objects(names, ignore_patterns=list(TOOLKIT_IGNORES))) == names


def test_a_handler_needs_no_more_than_is_required(minilm: Path) -> None:
    lines = (minilm / "requirements.txt").read_text().splitlines()
    required = [Requirement(line) for line in lines if not line.startswith("#")]
    names = {one.name for one in required}
    # safetensors is what transformers reads weights by; pydantic brings pydantic_core.
    assert handler_closure().packages - {"pydantic_core"} == names - {"safetensors"}
    for one in required:
        assert IMAGE[one.name] in one.specifier, one
        # pyarrow 26 is not for the image, whose numpy is too old for it.
        assert version(one.name) in one.specifier or one.name == "pyarrow", one


def test_no_module_of_a_bundle_looks_for_other_files() -> None:
    for module in handler_closure().modules:
        assert "__file__" not in module.file.read_text(), module.name
        assert module.name.split(".")[-1] not in ("builder", "deployments", "app"), module.name


def test_the_card_keeps_what_the_models_says(minilm: Path) -> None:
    own, card = (ModelCard.load(path / "README.md") for path in (GOLDEN.parents[1] / "models" / "minilm-qa", minilm))
    before, after = own.data.to_dict(), card.data.to_dict()
    assert after.pop("tags") == [*before.pop("tags")[:-1], "spanmill", "endpoints-template"]
    assert after == before
    assert str(card.text).strip().startswith(str(own.text).strip())
    assert "client.question_answering(" in card.text
    assert "curl https://" in card.text


def test_a_model_without_a_card_gets_one(tmp_path: Path, untried: None) -> None:
    _run(_request(tmp_path / "out", max_inputs=9))
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "question-answering",
        "tags": ["endpoints-template", "spanmill"],
    }
    assert str(card.text).strip().startswith("# bert\n")
    assert "of at most 9" in card.text
    assert str(GOLDEN) not in card.text


def test_another_task_of_the_card_is_said(golden_copy: Callable[[str], Path], tmp_path: Path, untried: None) -> None:
    folder = golden_copy("bert")
    (folder / "README.md").write_text("---\npipeline_tag: fill-mask\nlibrary_name: keras\nlicense: mit\n---\n# Mine\n")
    said = _run(_request(tmp_path / "out", folder, task="feature-extraction"))[1]
    assert any("where the model's card says fill-mask" in line for line in said)
    data = ModelCard.load(tmp_path / "out" / "README.md").data.to_dict()
    assert (data["pipeline_tag"], data["library_name"], data["license"]) == ("feature-extraction", "keras", "mit")


@pytest.mark.parametrize("metadata", ["a: b: c", "- a", "tags: [x", "tags: 3"])
def test_a_card_that_cannot_be_read_is_not_replaced(
    golden_copy: Callable[[str], Path], tmp_path: Path, metadata: str
) -> None:
    folder = golden_copy("bert")
    (folder / "README.md").write_text(f"---\n{metadata}\n---\n# Mine\n")
    with pytest.raises(
        ConfigError,
        match=r"README.md of bert: its (metadata (is no YAML: .* line \d|are no keys)|tags are no list).*; mend it",
    ):
        _run(_request(tmp_path / "out", folder))
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_a_bundle_is_the_same(minilm: Path, tmp_path: Path, untried: None) -> None:
    again = tmp_path / "bundle"
    _run(_request(again, minilm))
    assert files_in(again) == files_in(minilm)
    for name in files_in(minilm) - {"_bundle.json", "README.md"}:
        assert (again / name).read_bytes() == (minilm / name).read_bytes(), name
    assert (again / "README.md").read_text().count("## As an endpoint") == 1


def test_a_model_without_a_head_is_bundled_for_embeddings(
    golden_copy: Callable[[str], Path], tmp_path: Path, untried: None
) -> None:
    folder = golden_copy("bert")
    load_model(folder, with_qa_head=False).save_pretrained(folder)
    printed, _ = _run(_request(tmp_path / "out", folder))
    assert "an endpoint for feature-extraction" in printed
    ready, vector, refused = ask(tmp_path / "out", [{"inputs": "Ada"}, {"inputs": WHERE}])
    assert ready == {"reply": "ready"}
    assert len(vector["reply"]) == 32
    assert "this endpoint only embeds" in refused["error"]
    assert "question_answering" not in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(ConfigError, match="--task question-answering: the config of bert names no QA head"):
        _run(_request(tmp_path / "other", folder, task="question-answering"))
    assert not (tmp_path / "other").exists()


def test_what_transformers_5_writes_of_a_tokenizer_is_put_in_words_of_4(
    golden_copy: Callable[[str], Path], tmp_path: Path, untried: None
) -> None:
    folder = golden_copy("bert")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["the"]})
    tokenizer.save_pretrained(folder)
    before = json.loads((folder / "tokenizer_config.json").read_text())
    assert (before["tokenizer_class"], before["extra_special_tokens"]) == ("TokenizersBackend", ["the"])
    _run(_request(tmp_path / "out", folder))
    after = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert after["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert after["additional_special_tokens"] == ["the"]
    assert "extra_special_tokens" not in after
    assert load_spec(tmp_path / "out") == load_spec(folder)


def test_weights_are_those_that_transformers_reads(
    golden_copy: Callable[[str], Path], tmp_path: Path, untried: None
) -> None:
    folder = golden_copy("bert")
    model = load_model(folder, with_qa_head=True)
    (folder / "model.fp16.safetensors").write_bytes(b"a variant, which nothing here reads")
    assert weights_to_copy(folder) == [folder / "model.safetensors"]
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="50KB")
    index, *parts = (path.name for path in weights_to_copy(folder))
    assert index == "model.safetensors.index.json"
    assert len(parts) > 1
    _run(_request(tmp_path / "out", folder))
    assert {*parts, index} <= files_in(tmp_path / "out")
    assert load_model(tmp_path / "out", with_qa_head=True).config.model_type == "bert"
    assert "model.fp16.safetensors" not in files_in(tmp_path / "out")
    (folder / parts[0]).unlink()
    with pytest.raises(ModelError, match=f"index.json lists {parts[0]}, which is not beside it"):
        weights_to_copy(folder)
    for listed, says in ((1, "lists 1"), ("../x", "lists ../x"), ([], "cannot be read"), (None, "lists None")):
        (folder / index).write_text(json.dumps({"weight_map": {"a": listed}}))
        with pytest.raises(ModelError, match=f"index.json {says}"):
            weights_to_copy(folder)


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), ModelError, "holds no weights: neither model.safeten"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"x"),
            ModelError,
            "does not run: .*cannot be loaded",
        ),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), ModelError, "does not run: .*tokenizer"),
        (
            lambda folder: (folder / "tokenizer_config.json").write_text("["),
            ModelError,
            "tokenizer_config.json cannot be",
        ),
        (lambda folder: (folder / "config.json").unlink(), ModelError, "holds no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), ModelError, "config.json: Expecting"),
        (shutil.rmtree, NoModelError, "there is no folder"),
    ],
)
def test_a_model_that_cannot_be_used_leaves_nothing(
    golden_copy: Callable[[str], Path],
    tmp_path: Path,
    spoil: Callable[[Path], object],
    error: type[Exception],
    says: str,
) -> None:
    folder = golden_copy("bert")
    spoil(folder)
    with pytest.raises(error, match=says):
        _run(_request(tmp_path / "out", folder))
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_there_is_refused_or_replaced(tmp_path: Path, untried: None) -> None:
    output = tmp_path / "out"
    _run(_request(output))
    with pytest.raises(ConfigError, match=r"is not empty .*--overwrite"):
        _run(_request(output))
    (output / "old.txt").write_text("old")
    _run(_request(output, overwrite=True))
    assert "old.txt" not in files_in(output)
    with pytest.raises(ConfigError, match="is, or holds, the model itself"):
        _run(_request(output, output, overwrite=True))
    assert "model.safetensors" in files_in(output)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untried: None) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="No space left on device; free some space"):
        _run(_request(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_takes_modules_from_elsewhere_does_not_run(tmp_path: Path, untried: None) -> None:
    output = tmp_path / "out"
    _run(_request(output))
    (output / MODULES / "actors" / "engine" / "engine.py").unlink()
    assert "No module named 'actors.engine.engine'" in ask(output, [])[0]["error"]
    shutil.rmtree(output / MODULES / "actors")
    with pytest.raises(ModelError, match=r"the handler of the bundle does not run: .* came from elsewhere"):
        TRY_HANDLER(output)


def test_from_a_store_to_a_store(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untried: None) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, target = f"s3://bucket/{tmp_path.name}/mine", f"s3://bucket/{tmp_path.name}/bundle"
    store = resolve(source, s3.options)
    for path in Path(BERT).iterdir():
        write_atomic(store.fs, store.path(path.name), path.read_bytes())
    write_atomic(store.fs, store.path("README.md"), b"---\nlicense: mit\n---\n# Mine\n")
    _run(Request(ModelParameters(name=source, storage=s3.options), target, s3.options))
    there = resolve(target, s3.options)
    card = bytes(there.fs.cat_file(there.path("README.md"))).decode()
    assert "license: mit" in card
    assert "# Mine" in card
    assert "from `mine`" in card
    assert there.fs.exists(there.path(f"{MODULES}/actors/export/handler.py"))
    folder = find_model(ModelParameters(name=target, storage=s3.options))
    assert read_settings(folder).source == "mine"
