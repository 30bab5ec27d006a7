"""Converted models: those that `spanmill export` put into the model's folder, else made once on a machine and kept
under the user's cache.
"""

import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock, Timeout

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.exported import EXPORT_RECORD, ExportedForm, ExportRecord, read_export
from actors.backends.exported_files import check_files, place_of
from actors.backends.fingerprint import content_fingerprint
from actors.cache import UNUSED_DAYS, cache_folder, is_full, make_folder, mark_used, remove_unused
from actors.errors import ModelError, first_line

_LOG = logging.getLogger("spanmill.model")
_REVISION = 1
"""Another number is another conversion; to be raised whenever `conversion` gives something else."""


@dataclass(frozen=True)
class ExportedAs:
    """Which form of `spanmill export` holds the same as a conversion, under the same names of files."""

    form: str
    precision: str
    folder: str
    """Of an exported folder, where these files lie."""


@dataclass(frozen=True)
class Form:
    """One of the forms that a model is converted to."""

    name: str
    """In the names of folders, and for messages."""
    packages: tuple[str, ...]
    """Distributions that convert, whose versions decide what comes out."""
    make: Callable[[Path, Path, bool], None]
    """Converts a model folder into an empty folder, with or without the QA head; see `conversion`."""
    source: "Form | None" = None
    """What `make` converts in place of a model folder."""
    exported: ExportedAs | None = None
    """What is taken in place of a conversion where the model's folder has it."""


@dataclass(frozen=True)
class Converted:
    """A converted model."""

    folder: Path
    """Whose files the runtime reads."""
    results: Path
    """The folder that keeps what was measured of it. Of a conversion it is `folder`; of an export, which may lie where
    nothing can be written, one under the user's cache."""
    files: list[list[object]] = field(default_factory=list)
    """Names, sizes and SHA-256 of the files of an export, which were checked; none of a conversion."""

    @property
    def is_exported(self) -> bool:
        """Whether it lies in the model's own folder."""
        return self.folder != self.results


def converted_model(folder: Path, form: Form, with_qa_head: bool) -> Converted:
    """The form of a model: exported beside its weights, else converted earlier, else converted now.

    An export counts while config, tokenizer and weights are those that it was made from; else a warning is logged.

    Raises:
        ModelError: a file of the export is damaged, missing or another; or the model cannot be converted, or the cache
            cannot be written to.
    """
    exported = _exported(folder, form, with_qa_head)
    if exported is None:
        place = converted_folder(folder, form, with_qa_head)
        return Converted(place, place)
    try:
        check_files(folder, exported.files)
    except ModelError as error:
        raise ModelError(
            f"{error}; copy or download the folder again, export the model again, or remove {EXPORT_RECORD}: it is "
            "then converted on this machine"
        ) from error
    assert form.exported is not None
    files: list[list[object]] = [[file.path, file.bytes, file.sha256.lower()] for file in exported.files]
    name = f"exported-{form.name}-{hashlib.sha256(repr(sorted(map(repr, files))).encode()).hexdigest()[:24]}"
    results = cache_folder("converted") / name
    mark_used(results)
    return Converted(folder / form.exported.folder, results, files)


def converted_folder(folder: Path, form: Form, with_qa_head: bool) -> Path:
    """Where a conversion lies; it is made first where that was not done yet, in no two processes at once.

    Raises:
        ModelError: it cannot be converted, or the cache cannot be written to.
    """
    target = _place(folder, form, with_qa_head)
    if target.is_dir():
        mark_used(target)
        return target
    with locked(target):
        if not target.is_dir():
            started = time.monotonic()
            _LOG.info("converting %s to %s, which is done once and takes up to minutes", folder.name, form.name)
            make_folder(target, lambda place: _fill(place, folder, form, with_qa_head))
            _LOG.info("converted in %.0f s, kept in %s", time.monotonic() - started, target)
            for name in remove_unused(target.parent):
                _LOG.info("removed %s, which nothing has loaded for %d days", name, UNUSED_DAYS)
    return target


def is_converted(folder: Path, form: Form) -> bool:
    """Whether `converted_model` has nothing to convert; reads the weights for their fingerprint."""
    has_head = names_head(folder)
    if _exported(folder, form, has_head, says_why_not=False) is not None:
        return True
    try:
        return _place(folder, form, has_head).is_dir()
    except PackageNotFoundError:  # of those that would convert
        return False


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Waits until no other process of this machine works on a converted model, and keeps others waiting.

    Raises:
        ModelError: the cache cannot be written to, or is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{target.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _LOG.info("another process is converting or checking %s; waiting for it", target.name)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        raise ModelError(
            f"the converted model cannot be written to {target.parent}: {first_line(error)}; make room there, or "
            "name another folder for caches: XDG_CACHE_HOME=/a/folder"
        ) from error


def _exported(folder: Path, form: Form, with_qa_head: bool, says_why_not: bool = True) -> ExportedForm | None:
    """A form in the model's own folder that belongs to the weights beside it; its files were not looked into yet.

    None also where none of its files is there, as in a folder that was downloaded for another runtime.
    """
    if form.exported is None or (record := read_export(folder)) is None:
        return None
    found = record.form(form.exported.form, form.exported.precision)
    if found is None or record.has_qa_head != with_qa_head:
        return None
    if not any(place_of(folder, file).exists() for file in found.files):
        return None
    return found if _belongs(record, folder, form, says_why_not) else None


def _belongs(record: ExportRecord, folder: Path, form: Form, says_why_not: bool) -> bool:
    if record.fingerprint == content_fingerprint(folder, TRANSFORMERS_WEIGHTS):
        return True
    if says_why_not:
        _LOG.warning(
            "%s: its weights, config or tokenizer were changed since it was exported, so its form %s is not used, and "
            "the model is converted here; export it again",
            folder,
            form.name,
        )
    return False


def _fill(place: Path, folder: Path, form: Form, with_qa_head: bool) -> None:
    source = folder if form.source is None else converted_model(folder, form.source, with_qa_head).folder
    try:
        form.make(source, place, with_qa_head)
    except ModelError as error:
        if is_full(place):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _place(folder: Path, form: Form, with_qa_head: bool) -> Path:
    versions = [(package, version(package)) for package in form.packages]
    made_of = (content_fingerprint(folder, TRANSFORMERS_WEIGHTS), form.name, with_qa_head, versions, _REVISION)
    return cache_folder("converted") / f"{form.name}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:24]}"


def names_head(folder: Path) -> bool:
    """Whether the config says that the model was made for question answering.

    Such a model is converted with its QA head also where that is not needed, so that there is one conversion of it.

    Raises:
        ModelError: the config cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'}: {first_line(error)}") from error
    return any("QuestionAnswering" in name for name in config.get("architectures") or ())
