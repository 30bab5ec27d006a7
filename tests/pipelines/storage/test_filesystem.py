"""URLs become stores; a write is whole or absent, on a disk and on S3."""

import os
import pickle
from pathlib import Path

import fsspec
import pytest

from pipelines.errors import MissingError, StorageError
from pipelines.storage import filesystem
from pipelines.storage.filesystem import Store, create_exclusive, exists, read_bytes, resolve, write_atomic
from pipelines.storage.range_reader import read_range
from pipelines.storage.url import Url
from tests.pipelines.s3_server import S3Server


def test_local_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(resolve("out/").url) == str(tmp_path / "out")
    assert resolve("out").path("x") == str(tmp_path / "out" / "x")
    assert resolve(f"file://{tmp_path}/a").root == f"{tmp_path}/a"


def test_a_store_pickles_and_hides_its_options(tmp_path: Path) -> None:
    store = resolve(str(tmp_path), {"auto_mkdir": False})
    assert pickle.loads(pickle.dumps(store)) == store
    assert hash(store) == hash(resolve(str(tmp_path)))
    secret = Store(Url("s3://bucket/x"), {"secret": "hush"})
    assert "hush" not in repr(secret)
    assert pickle.loads(pickle.dumps(secret)).options == {"secret": "hush"}


@pytest.mark.parametrize(
    ("url", "words"), [("nope://x", "nope"), ("sftp://h/x", r"install the fsspec package for sftp")]
)
def test_what_cannot_be_reached_says_why(url: str, words: str) -> None:
    with pytest.raises(StorageError, match=words):
        resolve(url)


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs"), ("abfs", "azure")])
def test_a_missing_package_names_the_extra(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ImportError("not installed")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(StorageError, match=rf"pip install 'spanmill\[{extra}\]'"):
        resolve(f"{scheme}://bucket/x")


def test_write_and_replace(store: Store) -> None:
    path = store.path("deep/er/file")
    write_atomic(store.fs, path, b"one")
    write_atomic(store.fs, path, b"two")
    assert read_bytes(store.fs, path) == b"two"


def test_reading_nothing(store: Store) -> None:
    with pytest.raises(MissingError, match="nothing there"):
        read_bytes(store.fs, store.path("none"))


def test_exists_looks_afresh(store: Store) -> None:
    paths = [store.path("some"), store.path("empty")]
    assert [exists(store.fs, path) for path in paths] == [False, False]
    write_atomic(store.fs, paths[0], b"some")
    write_atomic(store.fs, paths[1], b"")
    assert [exists(store.fs, path) for path in paths] == [True, True]
    store.fs.ls(store.root)
    store.fs.rm_file(paths[0])
    assert not exists(store.fs, paths[0])


def test_create_exclusive(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_SETTLE_SECONDS", 0.01)
    path = store.path("once")
    assert create_exclusive(store.fs, path, b"one")
    assert not create_exclusive(store.fs, path, b"two")
    assert not create_exclusive(store.fs, path, b"one")
    assert read_bytes(store.fs, path) == b"one"


def test_without_conditional_writes_the_last_writer_wins_and_the_first_is_told(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = resolve("s3://bucket/overtaken", s3.options)
    path = store.path("race")
    # The other writer had looked before our write, and writes while we wait.
    monkeypatch.setattr("pipelines.storage.filesystem.time.sleep", lambda seconds: store.fs.pipe_file(path, b"other"))
    assert not create_exclusive(store.fs, path, b"ours")


class _Conditional:
    """A store that minds conditions, and may lose the answer to the first write."""

    def __init__(self, lose_first_answer: bool = False) -> None:
        self.content: dict[str, bytes] = {}
        self.lose = lose_first_answer

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        if path not in self.content:
            raise FileNotFoundError(path)
        return self.content[path][start:end]

    def pipe_file(self, path: str, data: bytes, mode: str = "overwrite") -> None:
        if mode == "create" and path in self.content:
            raise FileExistsError(path)
        self.content[path] = data
        if self.lose:
            self.lose = False
            raise ConnectionResetError("after the write")


@pytest.mark.parametrize("lose", [False, True])
def test_a_store_with_conditional_writes_needs_no_waiting(lose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_SETTLE_SECONDS", 1000.0)
    fs = _Conditional(lose)
    assert create_exclusive(fs, "k", b"one")
    assert not create_exclusive(fs, "k", b"two")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = resolve(str(tmp_path))
    write_atomic(store.fs, store.path("file"), b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="Free some space"):
        write_atomic(store.fs, store.path("file"), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_wrong_credentials_and_buckets(s3: S3Server) -> None:
    store = resolve("s3://bucket/out", {**s3.options, "secret": "wrong"})
    with pytest.raises(StorageError, match="credentials"):
        write_atomic(store.fs, store.path("x"), b"x")
    store = resolve("s3://no-such-bucket/out", s3.options)
    with pytest.raises(MissingError, match="bucket"):
        write_atomic(store.fs, store.path("x"), b"x")


def test_ranges_of_what_boto_uploaded(s3: S3Server) -> None:
    """Rclone answers a range with the checksum of the whole object, which botocore refuses unless told not to look."""
    store = resolve("s3://bucket/ranges", s3.options)
    write_atomic(store.fs, store.path("digits"), b"0123456789")
    assert read_range(store.fs, store.path("digits"), 2, 5) == b"234"
    chosen = {**s3.options, "config_kwargs": {"response_checksum_validation": "when_supported"}}
    strict = resolve("s3://bucket/ranges", chosen)
    assert strict.fs.config_kwargs["response_checksum_validation"] == "when_supported"
