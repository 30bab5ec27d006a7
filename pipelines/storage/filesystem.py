"""Files and object stores through fsspec: opening a store by its URL, and writes that are whole or absent."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from pipelines.errors import StorageError
from pipelines.storage.atomic_write import create_file, replace_file
from pipelines.storage.retry import attempt, http_status
from pipelines.storage.url import Url, redact

_S3 = ("s3", "s3a")
_STORES = (*_S3, "gs", "gcs", "abfs", "abfss", "az", "hf", "http", "https", "file", "local", "memory")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
# Longer than a writer needs between its check and its write, on a store that has no conditional writes.
_SETTLE_SECONDS = 1.0
# A write may last this long and then as long as its bytes take at a very slow rate. Without it a server that stops
# taking bytes would be waited for without end: the timeouts of the stores' packages begin after the last byte.
_WRITE_SECONDS = 60.0
_WRITE_BYTES_PER_SECOND = 1 << 18
# Two tries of botocore's own, so that one hiccup does not undo a listing of a thousand pages or an upload in parts.
# All further patience is `attempt`'s, which waits, counts and logs: left alone, the three layers multiply.
_S3_SETTINGS: Mapping[str, object] = {
    "retries": {"mode": "standard", "total_max_attempts": 2},
    "connect_timeout": 5,
    "read_timeout": 20,
    # Servers that only speak S3's protocol send a whole object's checksum along with a range of it, and botocore then
    # refuses every ranged read.
    "response_checksum_validation": "when_required",
}


@dataclass(frozen=True)
class Store:
    """A folder or file on any fsspec filesystem. Pickles as URL and options, and connects where it is used."""

    url: Url
    """What the user named, local paths made absolute."""

    options: Mapping[str, object] = field(default_factory=dict, hash=False, repr=False)
    """fsspec options: endpoint, credentials. Not shown, since they may be secret."""

    @property
    def fs(self) -> AbstractFileSystem:
        """The filesystem. Raises StorageError when its package is not installed or its options are wrong."""
        return self._resolved[0]

    @property
    def root(self) -> str:
        """The URL as a path of `fs`, without a slash at its end."""
        return self._resolved[1]

    def path(self, name: str) -> str:
        """Path of `name` (which may hold slashes) below the root."""
        return f"{self.root.rstrip('/')}/{name}"

    @cached_property
    def _resolved(self) -> tuple[AbstractFileSystem, str]:
        text = self.url.with_secrets
        scheme = text.partition("://")[0] if "://" in text else "file"
        options = _with_defaults(scheme, self.options)
        try:
            fs, root = _opened(text, scheme, options) if _is_one_name(text) else fsspec.core.url_to_fs(text, **options)
        except ImportError as error:
            extra = _EXTRAS.get(scheme)
            package = f"pip install 'spanmill[{extra}]'" if extra else f"install the fsspec package for {scheme}"
            message = f"{self.url}: a package for {scheme}:// is missing ({redact(str(error))}): {package}"
            raise StorageError(message, permanent=True) from error
        except (ValueError, TypeError) as error:
            message = f"{self.url}: {redact(str(error))}. Check the URL's scheme and the storage options."
            raise StorageError(message, permanent=True) from error
        if scheme in _S3:
            # s3fs tries five times more around botocore, and has no option for it.
            fs.retries = 1
        return fs, root

    def __reduce__(self) -> tuple[Any, ...]:
        return (Store, (self.url, dict(self.options)))


def _is_one_name(text: str) -> bool:
    """Whether "::" in it is part of a name: stores hold files, and only what reads a file of another is chained."""
    return "::" in text and text.startswith(("/", *(f"{scheme}://" for scheme in _STORES)))


def _opened(text: str, scheme: str, options: Mapping[str, Any]) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a URL that is not chained, and the path there."""
    kind = fsspec.get_filesystem_class(scheme)
    return kind(**{**kind._get_kwargs_from_urls(text), **options}), kind._strip_protocol(text)


def _with_defaults(scheme: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    if scheme not in _S3:
        return options
    return {**options, "config_kwargs": {**_S3_SETTINGS, **(options.get("config_kwargs") or {})}}


def resolve(url: str | Url, options: Mapping[str, object] | None = None) -> Store:
    """The store at `url`; a local path is made absolute now, because workers run in other folders.

    Raises:
        StorageError: unknown scheme, missing package, or options that the filesystem does not take.
    """
    text = url.with_secrets if isinstance(url, Url) else url
    chains = text.partition("::")[0] in fsspec.available_protocols() and "::" in text
    local = "://" not in text and not chains
    text = os.path.abspath(os.path.expanduser(text)) if local else text.rstrip("/")
    store = Store(Url(text), dict(options or {}))
    _ = store.fs
    return store


def is_local(fs: AbstractFileSystem) -> bool:
    """True when paths of `fs` are paths of this machine."""
    return isinstance(fs, LocalFileSystem)


def read_bytes(fs: AbstractFileSystem, path: str) -> bytes:
    """A small file, whole. Raises MissingError when there is none, StorageError when it cannot be read."""
    return attempt("reading", path, lambda: bytes(fs.cat_file(path)))


def exists(fs: AbstractFileSystem, path: str) -> bool:
    """True when there is a file at `path` now, whatever was cached; one request to an object store.

    Raises:
        StorageError: the store does not say.
    """
    return attempt("looking for", path, lambda: _exists(fs, path))


def write_atomic(fs: AbstractFileSystem, path: str, data: bytes) -> None:
    """Writes or replaces a file so that every reader sees the old content or all of the new one.

    Raises:
        StorageError: rights, space or network.
    """
    if is_local(fs):
        attempt("writing", path, lambda: replace_file(path, data))
    else:
        attempt("writing", path, lambda: _put(fs, path, data))


def create_exclusive(fs: AbstractFileSystem, path: str, data: bytes) -> bool:
    """Writes a file unless it exists; True when it was this call that wrote it.

    Exact on disks and on stores with conditional writes (S3, Google, Azure). The others, that take the condition and
    do not mind it, are served by check, write, wait a second and read back: there, of two writers one is told True,
    unless one of them sleeps for longer than that between its check and its write.

    Raises:
        StorageError: rights, space or network.
    """
    if is_local(fs):
        return attempt("creating", path, lambda: create_file(path, data))
    if exists(fs, path):
        return False
    if not attempt("creating", path, lambda: _put_new(fs, path, data)):
        return read_bytes(fs, path) == data
    # A second conditional write tells whether the store minds the condition: if it does, this one is refused.
    if attempt("creating", path, lambda: _put_new(fs, path, data)):
        time.sleep(_SETTLE_SECONDS)
    return read_bytes(fs, path) == data


def _exists(fs: AbstractFileSystem, path: str) -> bool:
    try:
        if is_local(fs):
            fs.info(path)
        else:
            # Never from a cache, and one request where `info` of a missing file is a HEAD and then a listing.
            fs.cat_file(path, start=0, end=1)
    except FileNotFoundError:
        return False
    except Exception as error:
        # An empty file has no first byte: range not satisfiable.
        if http_status(error) == 416:
            return True
        raise
    return True


def _put(fs: AbstractFileSystem, path: str, data: bytes, **options: object) -> None:
    if isinstance(fs, AsyncFileSystem):
        options["timeout"] = _WRITE_SECONDS + len(data) / _WRITE_BYTES_PER_SECOND
    # One call: a buffered file handle that an exception closes would commit a truncated object. S3 shows nothing of a
    # PUT that was cut or damaged (botocore sends a CRC32 along); `rclone serve s3` of one that was cut, from 1.75.2.
    fs.pipe_file(path, data, **options)


def _put_new(fs: AbstractFileSystem, path: str, data: bytes) -> bool:
    try:
        _put(fs, path, data, mode="create")
    except FileExistsError:
        return False
    except OSError as error:
        # Not every store's 412, precondition failed, reaches us as FileExistsError.
        if http_status(error) == 412:
            return False
        raise
    return True
