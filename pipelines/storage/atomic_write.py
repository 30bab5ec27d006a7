"""Writing local files so that they appear whole or not at all."""

import errno
import os
import uuid

TEMPORARY_PREFIX = ".spanmill-"
"""Start of the names of files that are being written; what is found under it later is rubbish of a killed process."""

# What FAT, FUSE and network filesystems say that have no hard links.
_NO_LINKS = frozenset((errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS))


def replace_file(path: str, data: bytes) -> None:
    """Writes or replaces a file, its folders too; a reader sees the old content or all of the new one.

    Raises:
        OSError: rights or space; what was there is there still.
    """
    temporary = _write_temporary(path, data)
    try:
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    _sync_folder(path)


def create_file(path: str, data: bytes) -> bool:
    """Writes a file unless it exists; True when it was this call that wrote it, however many try at once.

    Where there are no hard links, the file is empty for a moment before it is whole.

    Raises:
        OSError: rights or space.
    """
    temporary = _write_temporary(path, data)
    try:
        # A link fails when its name exists, and the name never shows half a file.
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _claim(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    _sync_folder(path)
    return True


def _claim(temporary: str, path: str) -> bool:
    try:
        with open(path, "xb"):
            pass
    except FileExistsError:
        return False
    try:
        os.replace(temporary, path)
    except OSError:
        os.unlink(path)
        raise
    _sync_folder(path)
    return True


def _write_temporary(path: str, data: bytes) -> str:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return temporary


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
