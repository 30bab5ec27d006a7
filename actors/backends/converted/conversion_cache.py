"""Converted models, each made once on a machine and kept under the user's cache."""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock, Timeout

from actors.backends.base import TRANSFORMERS_WEIGHTS
from actors.backends.fingerprint import content_fingerprint
from actors.cache import cache_folder, make_folder
from actors.errors import ModelError, first_line

_LOG = logging.getLogger("spanmill.model")
_REVISION = 1
"""Another number is another conversion; to be raised whenever `conversion` gives something else."""
_NO_ROOM = 16 << 20
"""Bytes of free space below which whatever failed is put down to the disk."""


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


def converted_folder(folder: Path, form: Form, with_qa_head: bool) -> Path:
    """Where the converted model lies; converts it first where that was not done yet, in no two processes at once.

    Raises:
        ModelError: it cannot be converted, or the cache cannot be written to.
    """
    target = _place(folder, form, with_qa_head)
    if target.is_dir():
        return target
    with locked(target):
        if not target.is_dir():
            started = time.monotonic()
            _LOG.info("converting %s to %s, which is done once and takes up to minutes", folder.name, form.name)
            make_folder(target, lambda place: _fill(place, folder, form, with_qa_head))
            _LOG.info("converted in %.0f s, kept in %s", time.monotonic() - started, target)
    return target


def is_converted(folder: Path, form: Form) -> bool:
    """Whether `converted_folder` has nothing to do; reads the whole model for its fingerprint."""
    return _place(folder, form, names_head(folder)).is_dir()


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


def _fill(place: Path, folder: Path, form: Form, with_qa_head: bool) -> None:
    source = folder if form.source is None else converted_folder(folder, form.source, with_qa_head)
    try:
        form.make(source, place, with_qa_head)
    except ModelError as error:
        # Not every package says so when it cannot write.
        if shutil.disk_usage(place).free < _NO_ROOM:
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
