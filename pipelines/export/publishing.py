"""A folder that is written on this machine, and then is OUTPUT whole: on a disk, on a store, or in a hub repository."""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from actors.backends.exported import EXPORT_RECORD
from actors.errors import first_line
from actors.export.endpoint_settings import SETTINGS
from pipelines.errors import ConfigError, MissingError, SpanmillError, StorageError
from pipelines.storage.atomic_write import TEMPORARY_PREFIX
from pipelines.storage.filesystem import Store, is_local, resolve, write_atomic
from pipelines.storage.retry import attempt

Say = Callable[[str], None]
"""Tells the user what is being done."""

_HUB = "hf://"
_OTHER_HUB = tuple(f"{_HUB}{kind}/" for kind in ("datasets", "spaces", "buckets"))
_LAST = ("config.json", "README.md", EXPORT_RECORD)
"""Written behind all others, in this order: a folder without the last is not whole."""
_CARD = "README.md"
_MARKS = (EXPORT_RECORD, SETTINGS)
"""Names of which one is in a folder that Spanmill wrote: of an export, and of a bundle for an endpoint. Other people's
repositories for endpoints have a handler.py, too."""
_ONE_PUT = 1 << 30
"""Bytes up to which a file is read into memory and sent by one request, which no store shows a part of."""


@contextmanager
def published(output: str, storage: Mapping[str, object], overwrite: bool, say: Say) -> Iterator[Path]:
    """An empty folder on this machine, which is OUTPUT when the block ends; if the block raises, nothing is left.

    Args:
        output: a local folder, any fsspec URL, or `hf://user/name`, a repository for a model.
        storage: fsspec options of `output`.
        overwrite: whether a model that is there is replaced, at the end of the block.

    Raises:
        ConfigError: there is something in OUTPUT that is not to be replaced.
        StorageError: it cannot be written, in the block too: there OSErrors become StorageErrors.
    """
    if output.startswith(_HUB) and not output.startswith(_OTHER_HUB):
        place = _in_hub(output.removeprefix(_HUB).strip("/"), overwrite, say)
    else:
        store = resolve(output, storage)
        place = _on_disk(Path(store.root), overwrite) if is_local(store.fs) else _on_store(store, overwrite, say)
    with place as folder:
        yield folder


def check_apart(model: Path, output: str, storage: Mapping[str, object]) -> None:
    """Raises ConfigError where a model's folder would be replaced with what is in OUTPUT.

    Args:
        storage: fsspec options of `output`, without which some stores cannot be named.
    """
    if output.startswith(_HUB):
        return
    store, model = resolve(output, storage), model.resolve()
    target = Path(store.root).resolve() if is_local(store.fs) else None
    if target is not None and (target == model or target in model.parents):
        raise ConfigError(f"OUTPUT: {target} is, or holds, the model itself ({model}); name another folder")


@contextmanager
def _on_disk(named: Path, overwrite: bool) -> Iterator[Path]:
    target = named.resolve()
    _check_free(str(target), _names_in(target), overwrite)
    with _disk_errors(target), _folders(target.parent):
        # Within a folder that is there: it may be a disk of its own, or where somebody stands.
        beside = target if target.is_dir() else target.parent
        scratch = beside / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        scratch.mkdir()
        try:
            yield scratch
            if beside is target:
                _check_free(str(target), _names_in(target), overwrite)
                _take_place(scratch, target)
            else:
                scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _take_place(scratch: Path, target: Path) -> None:
    """Moves what is in `scratch` into `target`, which it lies in, for what is there; after an error that is back."""
    old = target / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    old.mkdir()
    moved: list[tuple[Path, Path]] = []

    def move(path: Path, folder: Path) -> None:
        path.rename(folder / path.name)
        moved.append((path, folder / path.name))

    try:
        for path in [path for path in target.iterdir() if _counts(path.name)]:
            move(path, old)
        for path in sorted(scratch.iterdir(), key=lambda path: _order(path.name)):
            move(path, target)
    except BaseException:
        for before, now in reversed(moved):
            now.rename(before)
        old.rmdir()
        raise
    # What was there, and what killed processes left.
    for rubbish in target.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(rubbish, ignore_errors=True)


@contextmanager
def _folders(folder: Path) -> Iterator[None]:
    """Makes a folder and those above it; takes those away again that it made, if the block raises."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for place in made:
            with suppress(OSError):  # another may have written there since
                place.rmdir()
        raise


def _names_in(folder: Path) -> list[str]:
    """Of the files and folders in a folder that count; see `_counts`."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"OUTPUT: {folder} is a file; name a folder")
    if not folder.is_dir():
        return []
    try:
        return [path.name for path in folder.iterdir() if _counts(path.name)]
    except OSError as error:
        raise StorageError(f"{folder}: {first_line(error)}; name a folder that you may read", permanent=True) from error


def _counts(name: str) -> bool:
    """Not what begins with a dot: what a killed process left, and what others keep beside a model, such as .git."""
    return not name.startswith(".")


def _check_free(place: str, names: Sequence[str], overwrite: bool) -> None:
    """Raises ConfigError where files would be mixed with those that are there, or lost.

    Args:
        names: of what is there, with `/` between folders.
    """
    if not names:
        return
    shown = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
    if not overwrite:
        raise ConfigError(
            f"OUTPUT: {place} is not empty ({shown}); name another folder, or replace all that is there with "
            "--overwrite"
        )
    if set(names) != {_CARD} and set(names).isdisjoint(_MARKS):
        raise ConfigError(
            f"OUTPUT: {place} holds something else than what Spanmill wrote ({shown}), and --overwrite does not "
            "remove that; name another folder, or empty this one"
        )


@contextmanager
def _on_store(store: Store, overwrite: bool, say: Say) -> Iterator[Path]:
    there = _listed(store)
    _check_free(str(store.url), there, overwrite)
    _check_writable(store)
    with _scratch() as scratch:
        yield scratch
        _upload(scratch, store, there, say)


@contextmanager
def _scratch() -> Iterator[Path]:
    place = Path(tempfile.gettempdir())
    with _disk_errors(place), tempfile.TemporaryDirectory(prefix="spanmill-export-") as scratch:
        yield Path(scratch)


def _listed(store: Store) -> list[str]:
    """Names of the files below a store's root, with `/` between folders."""
    store.fs.invalidate_cache()
    try:
        paths = attempt("listing", store.url, lambda: store.fs.find(store.root))
    except MissingError:
        return []
    names = [str(path).removeprefix(store.root).strip("/") for path in paths]
    if "" in names:
        raise ConfigError(f"OUTPUT: {store.url} is a file; name a folder")
    return [name for name in names if _counts(name)]


def _check_writable(store: Store) -> None:
    """Raises StorageError where nothing can be written: better now than after minutes of conversions."""
    path = store.path(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    write_atomic(store.fs, path, b"spanmill tries whether it may write here")
    attempt("removing", path, lambda: store.fs.rm_file(path))


def _upload(folder: Path, store: Store, there: Sequence[str], say: Say) -> None:
    names = sorted((path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()), key=_order)
    begun, old = list[str](), tuple(there)
    try:
        # Without these it is no model, whatever happens from here on.
        _remove(store, [name for name in reversed(_LAST) if name in there])
        for number, name in enumerate(names, 1):
            if name in _LAST and there:
                _remove(store, sorted(set(there) - set(names) - set(_LAST)))
                there = ()
            size = (folder / name).stat().st_size
            say(f"uploading {number} of {len(names)}: {name}, {size / 1e6:,.1f} MB")
            begun.append(name)
            _put(folder / name, size, store, name)
    except BaseException:
        # What was there is no model any more, and without its mark `--overwrite` would not replace it.
        with suppress(SpanmillError, OSError):
            _remove(store, [*begun, *old])
        raise


def _put(file: Path, size: int, store: Store, name: str) -> None:
    path = store.path(name)
    if size <= _ONE_PUT:
        write_atomic(store.fs, path, file.read_bytes())
    else:
        attempt("writing", path, partial(store.fs.put_file, str(file), path))


def _remove(store: Store, names: Sequence[str]) -> None:
    for name in names:
        with suppress(MissingError):
            attempt("removing", store.path(name), partial(store.fs.rm_file, store.path(name)))


def _order(name: str) -> tuple[int, str]:
    return (_LAST.index(name) + 1 if name in _LAST else 0, name)


@contextmanager
def _in_hub(repository: str, overwrite: bool, say: Say) -> Iterator[Path]:
    """A commit that has all files. No test reaches a hub."""
    from huggingface_hub import HfApi

    hub = HfApi()
    with _hub_errors(repository):
        there = hub.repo_exists(repository)
        names = [name for name in hub.list_repo_files(repository) if _counts(name)] if there else []
        _check_free(f"{_HUB}{repository}", names, overwrite)
        # A wrong token shows now, and not after minutes of conversions.
        hub.whoami()
    with _scratch() as scratch:
        yield scratch
        say(f"uploading to {_HUB}{repository}")
        with _hub_errors(repository):
            hub.create_repo(repository, exist_ok=True)
            hub.upload_folder(
                repo_id=repository,
                folder_path=scratch,
                commit_message="Written by Spanmill",
                delete_patterns="*" if overwrite else None,
            )


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    try:
        yield
    except SpanmillError:
        raise
    except Exception as error:  # the hub and its HTTP client raise their own kinds
        raise StorageError(
            f"{_HUB}{repository}: {first_line(error)}; check its name, user/name, the network, and the token of "
            "`hf auth login` or HF_TOKEN"
        ) from error


@contextmanager
def _disk_errors(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "free some space" if is_full else "name a folder that you may write to"
        raise StorageError(
            f"{place}: {os.strerror(error.errno or 0) if is_full else first_line(error)}; {mend}"
        ) from error
