"""An output folder belongs to one training run."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.config.loader import load_config
from pipelines.config.training import FinetuneConfig
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import ManifestError
from pipelines.output.parts import list_names
from pipelines.storage.filesystem import Store, create_exclusive, exists, read_bytes, write_atomic
from pipelines.storage.url import Url
from pipelines.training import run_manifest
from pipelines.training.run_manifest import COMPLETE, RUN_MANIFEST_NAME, TrainingManifest, bind_training

LATER = ("training.steps", "training.average_last")
FILE = SourceFile(Url("/a.jsonl"), "a.jsonl", 12, "v1", "jsonl", None)


def _pin(
    *words: str, base: str = "b" * 64, teacher: str | None = None, file: SourceFile = FILE, held: int = 7
) -> TrainingManifest:
    return TrainingManifest.of(load_config(FinetuneConfig, None, words), base, teacher, [file], held)


def _write(store: Store, *names: str) -> None:
    for name in names:
        write_atomic(store.fs, store.path(name), b"{}")


def test_the_same_run_goes_on_until_it_is_complete(store: Store) -> None:
    assert bind_training(store, _pin(), overwrite=False) is False
    assert bind_training(store, _pin(), overwrite=False) is False
    _write(store, "model.safetensors")
    assert bind_training(store, _pin(), overwrite=False) is False
    _write(store, COMPLETE)
    assert bind_training(store, _pin(), overwrite=False) is True


def test_another_run_is_refused_with_what_differs(store: Store) -> None:
    bind_training(store, _pin(), overwrite=False)
    before = read_bytes(store.fs, store.path(RUN_MANIFEST_NAME))
    other = _pin("training.learning_rate=0.5", "training.embeddings.distance=2", teacher="t" * 64)
    with pytest.raises(ManifestError) as refused:
        bind_training(store, other, overwrite=False)
    lines = str(refused.value).splitlines()
    assert lines[0] == f"{store.url}: belongs to another training run. What differs, there -> now:"
    assert set(lines[1:-1]) == {
        f'  teacher: null -> "{"t" * 64}"',
        "  training.learning_rate: 0.00003 -> 0.5",
        "  training.embeddings.distance: null -> 2.0",
    }
    assert lines[-1] == "Name another OUTPUT, or replace what is there with --overwrite."
    assert read_bytes(store.fs, store.path(RUN_MANIFEST_NAME)) == before


@pytest.mark.parametrize(
    "other",
    [
        _pin("training.seed=1"),
        _pin("training.steps=5"),
        _pin("training.average_last=0.5"),
        _pin("qa.max_seq_len=128"),
        _pin("halve=true"),
        _pin("output.dtype=float16"),
        _pin("data.held_out_share=0.5"),
        _pin("data.held_out=[dev.json]"),
        _pin(base="c" * 64),
        _pin(held=8),
        _pin(file=SourceFile(Url("/a.jsonl"), "a.jsonl", 12, "v2", "jsonl", None)),
        _pin(file=SourceFile(Url("/b.jsonl"), "b.jsonl", 12, "v1", "jsonl", None)),
    ],
)
def test_whatever_changes_the_model_is_another_run(tmp_path: Path, other: TrainingManifest) -> None:
    store = Store(Url(str(tmp_path)))
    bind_training(store, _pin(), overwrite=False)
    assert other.run8 != _pin().run8
    with pytest.raises(ManifestError, match="belongs to another training run"):
        bind_training(store, other, overwrite=False)


def test_a_run_from_before_a_key_goes_on_while_the_key_has_its_default(store: Store) -> None:
    """As `spanmill finetune` wrote it before `training.steps` and `training.average_last`."""
    old = TrainingManifest({key: value for key, value in _pin().keys.items() if key not in LATER})
    bind_training(store, old, overwrite=False)
    assert bind_training(store, _pin(), overwrite=False) is False
    assert _pin().run8 == old.run8
    _write(store, COMPLETE)
    assert bind_training(store, _pin("training.steps=null", "training.average_last=0"), overwrite=False) is True
    for word, said in (
        ("training.steps=9", r"training\.steps: \(absent\) -> 9"),
        ("training.average_last=0.5", r"training\.average_last: \(absent\) -> 0\.5"),
    ):
        with pytest.raises(ManifestError, match=said):
            bind_training(store, _pin(word), overwrite=False)


@pytest.mark.parametrize(
    "words",
    [
        ["workers.number=4", "workers.cpus=0.5", "workers.max_failures=0"],
        ["checkpoints.every_steps=7", "checkpoints.url=/elsewhere"],
        ["ray.object_store_mb=100", "output.license=mit"],
        ['data.storage={"key": "k"}', 'output.storage={"key": "k"}', "data.held_out_rows=3"],
    ],
)
def test_who_makes_it_and_where_is_not_pinned(words: list[str]) -> None:
    assert _pin(*words) == _pin()
    assert _pin(*words).run8 == _pin().run8


def test_secrets_are_not_written(store: Store) -> None:
    names = ("data.storage", "output.storage", "checkpoints.storage", "base.storage", "teacher.storage")
    bind_training(store, _pin(*(f'{name}={{"secret": "hush"}}' for name in names)), overwrite=False)
    assert b"hush" not in read_bytes(store.fs, store.path(RUN_MANIFEST_NAME))


def test_a_model_of_unknown_making_is_left_alone(store: Store) -> None:
    _write(store, COMPLETE)
    with pytest.raises(ManifestError, match=rf"holds a model already, and no {RUN_MANIFEST_NAME}.*--overwrite"):
        bind_training(store, _pin(), overwrite=False)
    assert not exists(store.fs, store.path(RUN_MANIFEST_NAME))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"keys": 3}', b"{}"])
def test_a_damaged_pin_is_named(tmp_path: Path, data: bytes) -> None:
    store = Store(Url(str(tmp_path)))
    write_atomic(store.fs, store.path(RUN_MANIFEST_NAME), data)
    with pytest.raises(ManifestError, match=rf"{RUN_MANIFEST_NAME}: damaged .*--overwrite"):
        bind_training(store, _pin(), overwrite=False)
    assert bind_training(store, _pin(), overwrite=True) is False
    assert bind_training(store, _pin(), overwrite=False) is False


@pytest.mark.parametrize("old", [_pin(), _pin("training.seed=1"), None])
def test_overwriting_leaves_nothing_of_the_old_model(store: Store, old: TrainingManifest | None) -> None:
    if old is not None:
        bind_training(store, old, overwrite=False)
    _write(store, "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "README.md", COMPLETE)
    _write(store, "notes.txt")
    assert bind_training(store, _pin(), overwrite=True) is False
    assert sorted(list_names(store)) == sorted([RUN_MANIFEST_NAME, "notes.txt"])
    # The run that is cut off now goes on, and does not take the old model for its own.
    assert bind_training(store, _pin(), overwrite=False) is False


def test_overwriting_nothing(store: Store) -> None:
    assert bind_training(store, _pin(), overwrite=True) is False
    assert list_names(store) == [RUN_MANIFEST_NAME]


def test_of_two_runs_that_begin_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Url(str(tmp_path)))

    def slower(*arguments: Any) -> bool:
        monkeypatch.undo()
        bind_training(store, _pin("training.seed=1"), overwrite=False)
        return create_exclusive(*arguments)

    monkeypatch.setattr(run_manifest, "create_exclusive", slower)
    with pytest.raises(ManifestError, match="another run began here at the same moment"):
        bind_training(store, _pin(), overwrite=False)
