"""OUTPUT is there whole or not at all, on a disk and on a store, and is never mixed with what was there."""

import errno
import os
import stat
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from actors.errors import ModelError
from pipelines.errors import ConfigError, StorageError
from pipelines.export import publishing
from pipelines.export.publishing import check_apart, published
from pipelines.storage.atomic_write import TEMPORARY_PREFIX
from pipelines.storage.filesystem import Store, resolve, write_atomic
from tests.pipelines.export.conftest import files_in
from tests.pipelines.s3_server import S3Server

NEW = {"config.json": b"{}", "onnx/model.onnx": b"new", "README.md": b"# new", "_export.json": b"{}"}


def _silent(line: str) -> None:
    pass


def _fill(folder: Path) -> None:
    for name, data in NEW.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _publish(store: Store, overwrite: bool = False, error: BaseException | None = None) -> list[str]:
    said: list[str] = []
    with published(store.url.with_secrets, store.options, overwrite, said.append) as folder:
        _fill(folder)
        if error is not None:
            raise error
    return said


def _there(store: Store) -> dict[str, bytes]:
    store.fs.invalidate_cache()
    try:
        paths = store.fs.find(store.root)
    except FileNotFoundError:
        return {}
    return {str(path).removeprefix(store.root).strip("/"): bytes(store.fs.cat_file(path)) for path in paths}


def test_what_the_block_wrote_is_there(store: Store) -> None:
    _publish(store)
    assert _there(store) == NEW


@pytest.mark.parametrize("error", [ModelError("no"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_nothing(store: Store, tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        _publish(store, error=error)
    assert _there(store) == {}
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_refused(store: Store) -> None:
    _publish(store)
    with pytest.raises(
        ConfigError, match=r"is not empty \(README\.md, _export\.json, config\.json, \.\.\.\); .*--overwrite"
    ):
        _publish(store)
    assert _there(store) == NEW


def test_overwriting_replaces_all_that_was_there(store: Store) -> None:
    for name in ("_export.json", "README.md", "pytorch_model.bin", "openvino/old.xml", ".git/config"):
        write_atomic(store.fs, store.path(name), b"old")
    _publish(store, overwrite=True)
    assert _there(store) == NEW | {".git/config": b"old"}, "what begins with a dot is somebody else's"


def test_a_block_that_fails_leaves_what_was_to_be_replaced(store: Store) -> None:
    _publish(store)
    write_atomic(store.fs, store.path("README.md"), b"older")
    with pytest.raises(ModelError):
        _publish(store, overwrite=True, error=ModelError("no"))
    assert _there(store) == NEW | {"README.md": b"older"}


def test_what_spanmill_did_not_write_is_never_removed(store: Store) -> None:
    mine = dict.fromkeys(("thesis.tex", "README.md", "config.json", "handler.py"), b"years of work")
    for name, data in mine.items():
        write_atomic(store.fs, store.path(name), data)
    with pytest.raises(ConfigError, match=r"something else than what Spanmill wrote .*name another folder"):
        _publish(store, overwrite=True)
    assert _there(store) == mine


@pytest.mark.parametrize("names", [("README.md",), ("_bundle.json", "handler.py", "README.md")])
def test_a_card_alone_or_a_bundle_may_be_replaced(store: Store, names: tuple[str, ...]) -> None:
    for name in names:
        write_atomic(store.fs, store.path(name), b"old")
    with pytest.raises(ConfigError, match="--overwrite"):
        _publish(store)
    _publish(store, overwrite=True)
    assert _there(store) == NEW


def test_the_record_is_uploaded_behind_all_others(s3: S3Server, tmp_path: Path) -> None:
    said = _publish(resolve(f"s3://bucket/{tmp_path.name}", s3.options))
    assert [line.split(": ")[1].split(",")[0] for line in said] == [
        "onnx/model.onnx",
        "config.json",
        "README.md",
        "_export.json",
    ]


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_upload_that_fails_leaves_nothing(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    """Nor half of what was to be replaced, which no command would replace later."""
    store = resolve(f"s3://bucket/{tmp_path.name}", s3.options)
    if overwrite:
        for name in ("_export.json", "config.json", "openvino/old.xml"):
            write_atomic(store.fs, store.path(name), b"old")

    def fails_at_the_card(file: Path, size: int, store: Store, name: str) -> None:
        if name == "README.md":
            raise StorageError("the network is gone")
        write_atomic(store.fs, store.path(name), file.read_bytes())

    monkeypatch.setattr(publishing, "_put", fails_at_the_card)
    with pytest.raises(StorageError, match="the network is gone"):
        _publish(store, overwrite)
    assert _there(store) == {}


def test_a_bucket_that_is_not_there_is_an_error_before_anything_is_done(s3: S3Server) -> None:
    def enter() -> None:
        with published("s3://no-such-bucket/x", s3.options, False, _silent):
            pytest.fail("it was to be refused before")

    with pytest.raises(StorageError, match="no-such-bucket"):
        enter()


def test_a_large_file_is_sent_in_parts(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_ONE_PUT", 1)
    store = resolve(f"s3://bucket/{tmp_path.name}", s3.options)
    _publish(store)
    assert _there(store) == NEW


def test_an_empty_folder_is_filled_where_it_is(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    before = target.stat().st_ino
    _publish(resolve(str(target)))
    assert files_in(target) == set(NEW)
    assert target.stat().st_ino == before


def test_folders_are_made_with_the_usual_rights_and_taken_away_where_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        _publish(resolve(str(tmp_path / "a" / "b" / "c")), error=ModelError("no"))
    assert list(tmp_path.iterdir()) == []
    _publish(resolve(str(tmp_path / "a" / "b")))
    usual = tmp_path / "usual"
    usual.mkdir()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_what_a_killed_process_left_is_nothing(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}123").mkdir()
    _publish(resolve(str(tmp_path)))
    assert set(NEW) == files_in(tmp_path)
    assert not list(tmp_path.glob(f"{TEMPORARY_PREFIX}*"))


def test_files_that_came_meanwhile_are_not_mixed_with(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()

    def race() -> None:
        with published(str(target), {}, False, _silent) as folder:
            _fill(folder)
            (target / "other.txt").write_text("of somebody else")

    with pytest.raises(ConfigError, match=r"other\.txt"):
        race()
    assert files_in(target) == {"other.txt"}


def test_an_error_while_moving_puts_back_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    _publish(resolve(str(target)))
    (target / "README.md").write_text("older")
    rename = Path.rename

    def fails_once(self: Path, other: Path) -> Path:
        if self.name == "README.md" and self.read_bytes() == b"# new":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(StorageError, match="Input/output error"):
        _publish(resolve(str(target)), overwrite=True)
    assert {path.name for path in target.iterdir()} == {"config.json", "onnx", "README.md", "_export.json"}
    assert (target / "README.md").read_text() == "older"


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No space left on device; free some space"):
        _publish(resolve(str(tmp_path / "out")), error=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_a_folder_below_one_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        _publish(resolve(str(tmp_path / "file")))
    with pytest.raises(StorageError, match="name a folder that you may write to"):
        _publish(resolve(str(tmp_path / "file" / "below")))


def test_a_model_is_not_written_over_itself(tmp_path: Path) -> None:
    model = tmp_path / "models" / "mine"
    model.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path)
    for output in (tmp_path / "models", tmp_path / "link" / "models" / "mine", f"file://{model}"):
        with pytest.raises(ConfigError, match="is, or holds, the model itself"):
            check_apart(model, str(output), {})
    for output in (model / "below", tmp_path / "other", "s3://bucket/mine", "hf://user/name"):
        check_apart(model, str(output), {})


class _Keyed(MemoryFileSystem):  # type: ignore[misc]
    """A store that cannot be named without an option, as Azure's cannot."""

    protocol = "keyed"

    def __init__(self, key: str, **options: object) -> None:
        super().__init__(**options)


def test_a_store_that_needs_options_is_named_with_them(tmp_path: Path) -> None:
    fsspec.register_implementation("keyed", _Keyed, clobber=True)
    with pytest.raises(StorageError, match="key"):
        check_apart(tmp_path, "keyed://place", {})
    check_apart(tmp_path, "keyed://place", {"key": "mine"})
