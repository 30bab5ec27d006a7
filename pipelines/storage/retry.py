"""Calls to a store: which errors are worth another try, how many tries, and what to say after the last one."""

import errno
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from pipelines.errors import MissingError, StorageError
from pipelines.storage.url import Url, redact

T = TypeVar("T")

LOGGER = logging.getLogger("spanmill.store")
"""Says what is asked for again. Its records carry `action`, `place`, `attempt` (from 1) and `error`."""

TRIES = 8
"""Calls before giving up: with the waits between them, a store may be away for about twenty seconds."""

PATIENCE_SECONDS = 60.0
"""No further call is made after this long: a call to a silent server lasts until its timeout."""

_STORE_PACKAGES = frozenset(
    (
        *("botocore", "aiobotocore", "s3fs", "aiohttp", "gcsfs", "google", "azure", "adlfs", "huggingface_hub"),
        *("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "fsspec"),
    )
)
_PERMANENT_ERRORS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_PERMANENT_ERRNOS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG, errno.ENOSYS, errno.ELOOP, errno.EMSGSIZE)
)
# Classes of botocore, whose other errors are mostly about settings and credentials, and of aiohttp, whose error of a
# body that came short has a cause that calls itself a 400.
_WIRE = frozenset(
    (
        *("HTTPClientError", "ConnectionError", "ResponseParserError", "IncompleteReadError", "FlexibleChecksumError"),
        "ClientPayloadError",
    )
)
_SETTINGS_WORDS = ("Auth", "Credential", "Refresh", "NotFound", "Validation", "Invalid")
_RETRIED_STATUS = frozenset((408, 409, 425, 429))
# S3 says 400 to these accidents of the way too.
_RETRIED_CODES = ("IncompleteBody", "BadDigest", "RequestTimeout", "XAmzContentSHA256Mismatch")


# What S3, Azure and Google say where the clock of whoever asks is wrong.
_CLOCK_WORDS = (
    *("RequestTimeTooSkewed", "request time and the current time", "date header too old", "Token used too early"),
    "Check your iat and exp values",
)


@dataclass
class ErrorCount:
    """How often a store failed us."""

    total: int = 0
    """Failed calls, those that were made again and the last ones; that something is not there is an answer."""


_counting: ContextVar[ErrorCount | None] = ContextVar("counting", default=None)


@contextmanager
def count_errors() -> Iterator[ErrorCount]:
    """Counts the failed calls of `attempt` in this block; a block within it counts for itself.

    Other threads start without a count: `counted_here` takes it along.
    """
    count = ErrorCount()
    before = _counting.set(count)
    try:
        yield count
    finally:
        _counting.reset(before)


def counted_here(call: Callable[..., T]) -> Callable[..., T]:
    """`call`, counting its errors in the block that we are in now, whichever thread makes it."""
    count = _counting.get()

    def carried(*args: object) -> T:
        before = _counting.set(count)
        try:
            return call(*args)
        finally:
            _counting.reset(before)

    return carried


def attempt(action: str, place: str | Url, call: Callable[[], T]) -> T:
    """Returns `call()`, made again with growing, random waits while a store's error looks like a passing one.

    `action` ("reading", "writing") and `place` (path or URL) are words for the message, from which secrets of URLs are
    taken. Errors that are not a
    store's (a TypeError, say) pass through untouched.

    Raises:
        MissingError: there is nothing at `place`.
        StorageError: everything else that a store can say: rights, space, network.
    """
    shown = redact(str(place))
    retrying = Retrying(
        stop=stop_after_attempt(TRIES) | stop_after_delay(PATIENCE_SECONDS),
        wait=wait_random_exponential(multiplier=0.3, max=15),
        retry=retry_if_exception(is_transient),
        after=lambda state: _count(),
        before_sleep=lambda state: _log(action, shown, state),
        reraise=True,
    )
    try:
        return retrying(call)
    except Exception as error:
        if not _is_store_error(error):
            raise
        if not is_transient(error) and not isinstance(error, FileNotFoundError):
            _count()
        raise _explained(action, shown, error) from error


def is_transient(error: BaseException) -> bool:
    """True when the same call may well succeed a little later."""
    if not _is_store_error(error) or isinstance(error, _PERMANENT_ERRORS):
        return False
    if any(base.__name__ in _WIRE for base in type(error).__mro__):
        return True
    status = http_status(error)
    if status is not None and 400 <= status < 500:
        return status in _RETRIED_STATUS or any(word in str(error.__cause__) for word in _RETRIED_CODES)
    if _package(error) in ("botocore", "aiobotocore"):
        return False
    if any(word in type(error).__name__ for word in _SETTINGS_WORDS):
        return False
    return not (isinstance(error, OSError) and error.errno in _PERMANENT_ERRNOS)


def http_status(error: BaseException) -> int | None:
    """The status a server answered with, from the error or from the one it translates; None where there is none."""
    for source in (error, error.__cause__):
        response = getattr(source, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            status = getattr(source, "status", None) or getattr(source, "code", None)
            status = status or getattr(response, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def is_full(error: BaseException) -> bool:
    """Whether a disk, or what a user may have of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def full_disk_mend() -> str:
    """What to do about a disk that is full for this process: on a cluster only this node's may be."""
    return f"Free some space on node {socket.gethostname()}"


def _count() -> None:
    count = _counting.get()
    if count is not None:
        count.total += 1


def _log(action: str, place: str, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    said = _said(error)
    LOGGER.warning(
        "%s: %s failed (try %d of %d), again in %.1f s: %s",
        *(place, action, state.attempt_number, TRIES, state.upcoming_sleep, said),
        extra={"action": action, "place": place, "attempt": state.attempt_number, "error": said},
    )


def _said(error: BaseException | None) -> str:
    # fsspec's and asyncio's timeouts have no words.
    words = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else "no reason given")
    return f"{type(error).__name__}: {redact(words)}"


def _is_store_error(error: BaseException) -> bool:
    return isinstance(error, OSError) or _package(error) in _STORE_PACKAGES


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _explained(action: str, place: str, error: Exception) -> StorageError:
    if isinstance(error, FileNotFoundError):
        return MissingError(f"{place}: nothing there ({action}). Check the URL, bucket and folder included.")
    reason = f"{place}: {action} failed: {_said(error)}"
    if is_transient(error):
        return StorageError(f"{reason} (after several tries). Check network and endpoint, then run the command again.")
    if is_full(error):
        mend = f"{full_disk_mend()} and run the same command again: it goes on where it stopped."
    elif any(words in f"{error} {error.__cause__}" for words in _CLOCK_WORDS):
        mend = (
            f"The clock of node {socket.gethostname()} is wrong by minutes: run NTP there "
            "(`timedatectl set-ntp true`), then the same command again."
        )
    else:
        mend = "Check rights and credentials: corpus.storage, output.storage or the store's environment variables."
    return StorageError(f"{reason}. {mend}", permanent=True)
