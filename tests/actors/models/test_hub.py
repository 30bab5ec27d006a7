"""A model by name becomes a folder; its fingerprint follows what it computes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import huggingface_hub.constants
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from actors.errors import ModelError, NoModelError
from actors.models.hub import find_export, find_model, fingerprint, from_anywhere, is_shipped
from actors.models.loading import load_backend
from actors.parameters import ModelParameters
from tests.actors.exports import exported
from tests.actors.helpers import GOLDEN
from tests.actors.hub_server import serve_hub

BERT = GOLDEN / "models" / "bert"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    """BERT at memory://models/bert, with files that are none of a model's."""
    fs = fsspec.filesystem("memory")
    fs.put(str(BERT), "/models/bert", recursive=True)
    fs.pipe("/models/bert/README.md", b"hello")
    fs.pipe("/models/bert/checkpoint-1/model.safetensors", b"older")
    fs.pipe("/models/bert/optimizer.pt", b"large")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def _find(name: str, **storage: object) -> Path:
    return find_model(ModelParameters(name=name, storage=storage))


def test_a_local_folder_is_taken_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _find(str(BERT)) == BERT
    monkeypatch.chdir(BERT.parent)
    assert _find("bert") == BERT
    monkeypatch.setenv("HOME", str(BERT.parent))
    assert _find("~/bert") == BERT
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["./nowhere", "/no/where", "~/nowhere", "models/nowhere", "a/b/c"])
def test_an_unknown_folder_is_named_with_its_key(name: str) -> None:
    with pytest.raises(NoModelError, match=rf"model\.name: there is no folder {name}"):
        _find(name)


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        _find(str(tmp_path))


def test_a_hub_id_that_cannot_be_downloaded_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What HF_HUB_OFFLINE=1 sets at import: nothing may touch the network.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelError, match=r"model\.name: someone/model is neither a local folder nor a hub id"):
        _find("someone/model")
    with pytest.raises(NoModelError, match=r"model\.name: no such name! is neither"):
        _find("no such name!")


def test_a_url_is_copied_to_the_cache_without_what_the_model_does_not_need(
    tmp_path: Path, memory: MemoryFileSystem
) -> None:
    folder = _find("memory://models/bert")
    assert folder.is_relative_to(tmp_path / "cache" / "spanmill" / "models")
    assert {path.name for path in folder.iterdir()} == {path.name for path in BERT.iterdir()}
    assert fingerprint(folder, "torch") == fingerprint(BERT, "torch")


@pytest.mark.parametrize("index", ["model.safetensors", "model.safetensors.index.json"])
def test_weights_that_transformers_does_not_read_are_not_copied(memory: MemoryFileSystem, index: str) -> None:
    memory.pipe("/models/bert/pytorch_model.bin", b"the same weights once more")
    memory.mv("/models/bert/model.safetensors", "/models/bert/model-00001-of-00001.safetensors")
    memory.pipe(f"/models/bert/{index}", b"{}")
    names = {path.name for path in _find("memory://models/bert").iterdir()}
    assert {"model-00001-of-00001.safetensors", index} <= names
    assert "pytorch_model.bin" not in names
    memory.rm(f"/models/bert/{index}")
    assert "pytorch_model.bin" in {path.name for path in _find("memory://models/bert").iterdir()}


def test_a_url_is_copied_once_and_again_when_it_changes(memory: MemoryFileSystem) -> None:
    folder = _find("memory://models/bert")
    (folder / "mark").touch()
    assert (_find("memory://models/bert/") / "config.json").is_file()
    assert (_find("memory://models/bert") / "mark").exists(), "the copy is used again"
    config = memory.cat_file("/models/bert/config.json")
    memory.pipe_file("/models/bert/config.json", config.replace(b"0.1", b"0.2"))
    renewed = _find("memory://models/bert")
    assert renewed != folder
    assert b"0.2" in (renewed / "config.json").read_bytes(), "of the same size, and yet another file"


def test_a_file_url_may_hold_blanks(tmp_path: Path) -> None:
    shutil.copytree(BERT, tmp_path / "my models" / "b")
    assert fingerprint(_find(f"file://{tmp_path}/my models/b"), "torch") == fingerprint(BERT, "torch")


class _Silent(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store that does not answer in time."""

    protocol = "silent"

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[dict[str, Any]]:
        raise TimeoutError(f"{path}: no answer")


def test_a_store_that_does_not_answer_is_not_taken_for_an_empty_one() -> None:
    fsspec.register_implementation("silent", _Silent, clobber=True)
    with pytest.raises(ModelError, match=r"model\.name: silent://mine cannot be read: .*no answer") as raised:
        _find("silent://mine")
    assert not isinstance(raised.value, NoModelError)


def test_a_file_url_may_hold_links(tmp_path: Path) -> None:
    """As a snapshot in the hub's cache does."""
    for path in BERT.iterdir():
        (tmp_path / path.name).symlink_to(path)
    assert {path.name for path in _find(f"file://{tmp_path}").iterdir()} >= {"config.json", "model.safetensors"}


def test_a_url_without_model_files_is_named(memory: MemoryFileSystem) -> None:
    memory.pipe("/elsewhere/README.md", b"hello")
    with pytest.raises(NoModelError, match="memory://elsewhere holds no model files"):
        _find("memory://elsewhere")
    memory.pipe("/elsewhere/tokenizer.json", b"{}")
    with pytest.raises(ModelError, match=r"memory://elsewhere holds no config\.json"):
        _find("memory://elsewhere")


def test_a_scheme_that_nobody_knows_is_explained() -> None:
    with pytest.raises(ModelError, match=r"model\.name: nosuch://x cannot be read: .*nosuch"):
        _find("nosuch://x")


class _Breaking(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store that lists, and then breaks in the middle of a copy."""

    protocol = "breaking"

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[dict[str, Any]]:
        names = (f"{path}/config.json", f"{path}/model.safetensors")
        return [{"name": name, "size": 1, "type": "file"} for name in names]

    def get_file(self, rpath: str, lpath: str, **kwargs: Any) -> None:
        Path(lpath).write_bytes(b"x")
        if rpath.endswith(".safetensors"):
            raise ConnectionError(f"{self.storage_options['user']} lost the line")


def test_a_copy_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    """And the storage options have reached the store, whose error names one of them."""
    fsspec.register_implementation("breaking", _Breaking, clobber=True)
    with pytest.raises(ModelError, match=r"breaking://m cannot be copied: ada lost the line"):
        _find("breaking://m", user="ada")
    assert list((tmp_path / "cache" / "spanmill" / "models").iterdir()) == []


def test_the_fingerprint_follows_weights_tokenizer_and_config(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("bert")
    seen = {fingerprint(folder, "torch")}
    for name in ("model.safetensors", "tokenizer.json", "config.json", "vocab.txt"):
        path = folder / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        seen.add(fingerprint(folder, "torch"))
    assert len(seen) == 5


def test_the_fingerprint_does_not_follow_the_rest(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("bert")
    assert fingerprint(folder, "torch") == fingerprint(BERT, "torch")
    (folder / "README.md").write_text("hello")
    (folder / "README.txt").write_text("hello")
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"not read beside safetensors")
    os.utime(folder / "model.safetensors", (1, 1))
    assert fingerprint(folder, "torch") == fingerprint(BERT, "torch")
    moved = folder.rename(folder.with_name("other"))
    assert fingerprint(moved, "torch") == fingerprint(BERT, "torch")


def test_a_file_under_another_name_is_another_model(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("bert")
    (folder / "vocab.txt").rename(folder / "merges.txt")
    assert fingerprint(folder, "torch") != fingerprint(BERT, "torch")


FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "vocab.txt": b"[PAD]\n",
    "spiece.model": b"s",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"older weights",
    "model.onnx": b"graph",
    "README.txt": b"hello",
    "model.safetensors.index.json": b"{}",
    "_notes.txt": b"x",
    "optimizer.pt": b"o",
}


@pytest.mark.parametrize("backend", ["torch", "null"])
@pytest.mark.parametrize(
    ("removed", "digest"),
    [
        ((), "7cb70918eebe9eeb5e4a7bd4e4dfccbfab19bbee3517288459956a40eafe530a"),
        (("model.safetensors",), "f9a24f1c65930b1c36c6f2e1bd336c78d3cb913c88b43e404f9293fa78bb138d"),
        (
            ("model.safetensors", "pytorch_model.bin"),
            "8c5ad795a85b9fc7b0ce487abc55eb31369a15deaa0565190aac3b0c64bcf0b0",
        ),
    ],
)
def test_the_fingerprint_of_a_folder_never_changes(
    tmp_path: Path, backend: str, removed: tuple[str, ...], digest: str
) -> None:
    """A job that another release began goes on only where this one computes what that one computed."""
    for name in FILES.keys() - set(removed):
        (tmp_path / name).write_bytes(FILES[name])
    assert fingerprint(tmp_path, backend) == digest


def test_what_a_killed_download_left_is_removed_after_a_day(tmp_path: Path, memory: MemoryFileSystem) -> None:
    models = tmp_path / "cache" / "spanmill" / "models"
    for name, hours in (("old", 25), ("running", 1)):
        partial = models / f".partial-{name}"
        partial.mkdir(parents=True)
        (partial / "model.safetensors").write_bytes(b"part")
        for path in (partial / "model.safetensors", partial):
            os.utime(path, times=(0, time.time() - 3600 * hours))
    os.utime(models / ".partial-running", times=(0, 0))
    found = _find("memory://models/bert")
    assert sorted(path.name for path in models.iterdir()) == sorted([".partial-running", found.name])


def test_a_download_that_is_stopped_leaves_nothing(
    tmp_path: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MemoryFileSystem, "get_file", stop)
    with pytest.raises(KeyboardInterrupt):
        _find("memory://models/bert")
    assert list((tmp_path / "cache" / "spanmill" / "models").iterdir()) == []


def test_which_names_mean_the_model_that_comes_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = _find("minilm-qa")
    assert all(map(is_shipped, ("minilm-qa", "models/minilm-qa", str(shipped))))
    assert not any(map(is_shipped, ("some/minilm-qa", str(BERT), "s3://bucket/minilm-qa")))
    (tmp_path / "minilm-qa").mkdir()
    assert not is_shipped("minilm-qa"), "a folder of that name goes first"


def test_the_model_that_ships_is_found_beside_the_code_of_the_workers() -> None:
    """The folder that the driver has it in may be on the driver's machine only."""
    folder = find_model(ModelParameters())
    assert [from_anywhere(name) for name in (str(folder), "minilm-qa")] == ["minilm-qa"] * 2


# Folders that spanmill export wrote

FORMS = (("ctranslate2", "float32"), ("ctranslate2", "int8"))


@pytest.fixture
def export(conversions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """BERT with CTranslate2's forms; the cache is the test's own again."""
    folder = exported(BERT, tmp_path / "exported" / "bert", *FORMS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def export_url(export: Path, memory: MemoryFileSystem) -> str:
    """That folder at a URL."""
    memory.put(str(export), "/models/exported", recursive=True)
    return "memory://models/exported"


def _found(url: str, backend: str, precision: str = "exact") -> tuple[Path, set[str]]:
    """The copy, and the names of what was copied below its folders."""
    model = ModelParameters.model_validate({"name": url, "backend": backend, "precision": precision, "device": "cpu"})
    folder = find_model(model)
    nested = {path.relative_to(folder).as_posix() for path in folder.glob("*/**/*") if path.is_file()}
    return folder, nested


def test_of_an_export_the_form_that_the_runtime_reads_is_copied_and_no_other(export: Path, export_url: str) -> None:
    plain, nothing = _found(export_url, "torch")
    assert nothing == set()
    assert _found(export_url, "onnxruntime") == (plain, set()), "there is no such form"
    folder, names = _found(export_url, "ctranslate2")
    assert folder == plain, "the weights are copied once"
    exact = {path.relative_to(export).as_posix() for path in export.glob("ctranslate2/float32/*")}
    assert names == exact
    (folder / "ctranslate2/float32/model.bin").write_bytes(b"kept")
    assert _found(export_url, "ctranslate2", "fast")[1] - exact == {
        path.relative_to(export).as_posix() for path in export.glob("ctranslate2/int8/*")
    }
    assert (folder / "ctranslate2/float32/model.bin").read_bytes() == b"kept", "what is there is not copied again"
    assert fingerprint(folder, "ctranslate2") == fingerprint(export, "torch") == fingerprint(BERT, "torch")


def test_a_form_at_a_file_url_is_loaded_as_it_lies(export: Path) -> None:
    model = ModelParameters(name=f"file://{export}", backend="ctranslate2", device="cpu", threads=1)
    backend = load_backend(find_model(model), model, with_qa_head=True)
    assert backend.hidden_size == 32
    made = [path.name for path in (export.parents[1] / "cache/spanmill/converted").iterdir() if path.is_dir()]
    assert len(made) == 1
    assert made[0].startswith("exported-ctranslate2-"), "figures alone, and no conversion"


def test_a_form_that_is_another_at_its_url_is_refused_and_not_kept(
    export_url: str, memory: MemoryFileSystem, tmp_path: Path
) -> None:
    path = "/models/exported/ctranslate2/float32/model.bin"
    data = bytearray(memory.cat_file(path))
    data[len(data) // 2] ^= 1
    memory.pipe_file(path, bytes(data))
    said = r"model\.name: memory://models/exported/ctranslate2/float32/model\.bin is not what was exported"
    for _ in range(2):
        with pytest.raises(ModelError, match=said):
            _found(export_url, "ctranslate2")
    assert not list(tmp_path.glob("cache/**/model.bin"))
    memory.rm(path)
    with pytest.raises(ModelError, match=r"float32/model\.bin cannot be copied: .*set model\.backend: torch"):
        _found(export_url, "ctranslate2")
    assert _found(export_url, "torch")[0].is_dir()


def test_all_forms_are_copied_for_a_check(export: Path, export_url: str) -> None:
    folder = find_export(ModelParameters(name=export_url))
    names = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert names == {path.relative_to(export) for path in export.rglob("*") if path.is_file()}
    assert find_export(ModelParameters(name=str(export))) == export


_FETCH = """
import sys
from actors.models.hub import find_export, find_model
from actors.parameters import ModelParameters

for backend in ("torch", "ctranslate2"):
    folder = find_model(ModelParameters(name="someone/bert", backend=backend, device="cpu"))
    print(*sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()))
folder = find_export(ModelParameters(name="someone/bert"))
print(*sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()))
"""


def _told(program: str, folder: Path, tmp_path: Path) -> list[set[str]]:
    """The words of each line that a program prints, for which someone/bert on the hub is a folder.

    By the hub's own client, from a server that speaks as much of its protocol as that asks for.
    """
    with serve_hub("someone/bert", folder) as endpoint:
        environment = os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=600
        )
    assert done.returncode == 0, done.stderr
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_of_an_export_on_the_hub_the_form_that_is_read_is_downloaded(export: Path, tmp_path: Path) -> None:
    (export / "pytorch_model.bin").write_bytes(b"the weights once more, which nothing reads beside the safetensors")
    plain, one, every = _told(_FETCH, export, tmp_path)
    all_names = {path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file()}
    all_names -= {"pytorch_model.bin"}
    assert plain == {name for name in all_names if "/" not in name}
    assert one - plain == {name for name in all_names if name.startswith("ctranslate2/float32/")}
    assert every == all_names


def test_from_the_hub_the_weights_come_that_there_are(tmp_path: Path) -> None:
    names = {"config.json", "tokenizer.json", "pytorch_model.bin"}
    (tmp_path / "repository").mkdir()
    for name in (*names, "tf_model.h5", "README.md"):
        (tmp_path / "repository" / name).write_text("{}")
    program = (
        "import os; from actors.models.hub import find_model; from actors.parameters import ModelParameters; "
        "print(*os.listdir(find_model(ModelParameters(name='someone/bert'))))"
    )
    assert _told(program, tmp_path / "repository", tmp_path) == [names]
