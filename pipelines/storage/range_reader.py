"""Byte ranges of a file on a store, each fetched again until it is complete or the tries are used up."""

import io
from typing import Any

from fsspec.spec import AbstractFileSystem

from pipelines.errors import StorageError
from pipelines.storage.retry import attempt, counted_here
from pipelines.storage.url import redact


def read_range(fs: AbstractFileSystem, path: str, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of a file that is at least `stop` bytes long.

    Raises:
        MissingError: the file is gone.
        StorageError: it cannot be read, is shorter than it was when it was listed, or the server knows no ranges.
    """
    if stop <= start:
        return b""

    def fetch() -> bytes:
        data = bytes(fs.cat_file(path, start=start, end=stop))
        if len(data) < stop - start:
            raise ConnectionError(f"got {len(data)} of {stop - start} bytes at byte {start}; is the file truncated?")
        return data

    data = attempt("reading", path, fetch)
    if len(data) > stop - start:
        mend = "Copy the file to a disk or an object store."
        raise StorageError(f"{redact(path)}: the server ignores byte ranges. {mend}", permanent=True)
    return data


class RangeFile(io.RawIOBase):
    """A readable, seekable file that fetches exactly what is asked for, with retries; wrap it to buffer."""

    def __init__(self, fs: AbstractFileSystem, path: str, size: int) -> None:
        super().__init__()
        # Arrow reads ahead in threads of its own.
        self._read_range = counted_here(read_range)
        self._fs = fs
        self._path = path
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves without a request."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; all that are left when it is negative."""
        stop = self._size if size < 0 else min(self._size, self._position + size)
        data = self._read_range(self._fs, self._path, self._position, stop)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` as far as there are bytes, and says how far."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
