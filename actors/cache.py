"""Folders and files that are there whole or not at all, those under the user's cache before all."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PARTIAL = ".partial-"
_ABANDONED_SECONDS = 24 * 3600.0
_NO_ROOM = 16 << 20
"""Bytes."""
UNUSED_DAYS = 60
"""After which a folder that nobody uses is in the way: long enough for whoever needs a model once a month."""


def cache_folder(kind: str) -> Path:
    """Where folders of a kind are kept: in $XDG_CACHE_HOME, or ~/.cache where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "spanmill" / kind


def make_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Makes a folder that is seen whole or not at all, whenever the process is killed; another's is kept.

    Args:
        write: fills an empty folder beside the target, which is then renamed. Whatever it raises, nothing is left.

    Raises:
        OSError: the place cannot be written to, or is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target.parent)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=_PARTIAL))
    try:
        write(partial)
        partial.rename(target)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not (isinstance(error, OSError) and target.is_dir()):  # else another process was faster
            raise


def mark_used(folder: Path) -> None:
    """Keeps a folder from `remove_unused`; where that cannot be written down, or there is none, nothing happens."""
    with suppress(OSError):
        os.utime(folder)


def remove_unused(parent: Path) -> list[str]:
    """Removes folders that were neither made nor marked as used for `UNUSED_DAYS`; another process may do so, too.

    Returns:
        Their names.
    """
    removed = []
    for folder in sorted(parent.iterdir()):
        # A folder that is gone meanwhile, or another's, is left to others.
        with suppress(OSError):
            is_old = time.time() - folder.stat().st_mtime > UNUSED_DAYS * 24 * 3600.0
            if is_old and folder.is_dir() and not folder.name.startswith("."):
                # Out of the way first, so that nobody finds the half of it.
                hidden = folder.rename(folder.with_name(f"{_PARTIAL}{folder.name}"))
                shutil.rmtree(hidden, ignore_errors=True)
                removed.append(folder.name)
    return removed


def is_full(folder: Path) -> bool:
    """Whether its disk has so little room that whatever failed there is put down to that: not every package says so."""
    return shutil.disk_usage(folder).free < _NO_ROOM


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file in place of an earlier one; whoever reads it has that one or this one, whole.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        written = Path(file.name)
        try:
            file.write(data)
            file.flush()
            written.replace(path)
        except BaseException:
            written.unlink(missing_ok=True)
            raise


def _remove_abandoned(parent: Path) -> None:
    """Removes what processes that were killed had written: nothing was written to it for a day."""
    for partial in parent.glob(f"{_PARTIAL}*"):
        try:
            newest = max(path.stat().st_mtime for path in (partial, *partial.rglob("*")))
        except OSError:
            continue  # another process is faster
        if time.time() - newest > _ABANDONED_SECONDS:
            shutil.rmtree(partial, ignore_errors=True)
