"""Which errors are tried again, and what the last one says."""

import errno
import logging
import pickle
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity.nap

from pipelines.errors import MissingError, StorageError
from pipelines.storage import retry
from pipelines.storage.retry import attempt, count_errors, counted_here, is_transient

aiohttp = pytest.importorskip("aiohttp")
boto = pytest.importorskip("botocore.exceptions")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda seconds: None))


def _s3_error(code: str, status: int) -> OSError:
    cause = boto.ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")
    error = OSError(errno.EINVAL, code)
    error.__cause__ = cause
    return error


def _cut_short() -> Exception:
    error: Exception = aiohttp.ClientPayloadError("Response payload is not completed")
    error.__cause__ = aiohttp.http_exceptions.ContentLengthError("Not enough data to satisfy content length header")
    return error


class _Flaky:
    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_passing_errors_are_tried_again() -> None:
    call = _Flaky(ConnectionResetError(), TimeoutError(), OSError(errno.EBUSY, "SlowDown"))
    assert attempt("reading", "s3://b/k", call) == "done"
    assert call.calls == 4


def test_retries_are_bounded() -> None:
    call = _Flaky(*[ConnectionResetError("away")] * 100)
    with pytest.raises(
        StorageError, match=r"s3://b/k: reading failed: ConnectionResetError: away .*Check network"
    ) as raised:
        attempt("reading", "s3://b/k", call)
    assert call.calls == retry.TRIES
    assert not raised.value.permanent


def test_errors_without_words_get_some() -> None:
    with pytest.raises(StorageError, match="failed: TimeoutError: no answer in time"):
        attempt("reading", "x", _Flaky(*[TimeoutError()] * 100))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (FileNotFoundError(), MissingError, "Check the URL"),
        (PermissionError("no"), StorageError, "credentials"),
        (boto.NoCredentialsError(), StorageError, "credentials"),
        (OSError(errno.ENOSPC, "full"), StorageError, "Free some space"),
        (_s3_error("InvalidBucketName", 400), StorageError, "Check rights"),
    ],
)
def test_lasting_errors_are_told_at_once(error: Exception, kind: type[StorageError], words: str) -> None:
    call = _Flaky(error)
    with pytest.raises(kind, match=words) as raised:
        attempt("writing", "there", call)
    assert call.calls == 1
    assert raised.value.__cause__ is error
    assert raised.value.permanent


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (_s3_error("SlowDown", 503), True),
        (_s3_error("IncompleteBody", 400), True),
        (_s3_error("AccessDenied", 403), False),
        (boto.EndpointConnectionError(endpoint_url="http://x"), True),
        (boto.FlexibleChecksumError(error_msg="damaged on the way"), True),
        (_cut_short(), True),
        (boto.ParamValidationError(report="bad bucket"), False),
        (OSError(errno.EIO, "disk"), True),
        (ValueError("ours"), False),
    ],
)
def test_is_transient(error: Exception, transient: bool) -> None:
    assert is_transient(error) is transient


def test_errors_of_ours_pass_untouched() -> None:
    def broken() -> Any:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        attempt("reading", "x", broken)


def test_failed_calls_are_counted_where_they_are_made() -> None:
    with count_errors() as outer:
        attempt("reading", "x", _Flaky(ConnectionResetError(), TimeoutError()))
        with count_errors() as inner, pytest.raises(StorageError):
            attempt("reading", "x", _Flaky(*[TimeoutError()] * 100))
        with pytest.raises(StorageError):
            attempt("writing", "x", _Flaky(PermissionError()))
        with pytest.raises(MissingError):
            attempt("reading", "x", _Flaky(FileNotFoundError()))
        with pytest.raises(TypeError):
            attempt("reading", "x", _Flaky(TypeError("not the store's")))
    attempt("reading", "x", _Flaky(TimeoutError()))
    assert (outer.total, inner.total) == (3, retry.TRIES)


def test_a_count_goes_along_to_other_threads() -> None:
    def read(error: Exception) -> str:
        return attempt("reading", "x", _Flaky(error))

    with count_errors() as errors, ThreadPoolExecutor(2) as threads:
        assert list(threads.map(counted_here(read), [TimeoutError()] * 5)) == ["done"] * 5
        threads.submit(read, TimeoutError()).result()
    assert errors.total == 5


def test_every_retry_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "spanmill.store"):
        attempt("reading", "s3://b/k", _Flaky(ConnectionResetError("away"), TimeoutError()))
    first, second = (vars(record) for record in caplog.records)
    wanted = {"action": "reading", "place": "s3://b/k", "attempt": 1, "error": "ConnectionResetError: away"}
    assert {key: first[key] for key in wanted} == wanted
    assert second["attempt"] == 2
    assert "s3://b/k: reading failed (try 1 of 8), again in" in first["message"]


@pytest.mark.parametrize("error", [StorageError("full", permanent=True), StorageError("away"), MissingError("gone")])
def test_errors_travel_between_processes(error: StorageError) -> None:
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there), there.permanent) == (type(error), str(error), error.permanent)


def test_waits_grow_and_are_random(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=waits.append))
    for _ in range(40):
        attempt("reading", "x", _Flaky(*[TimeoutError()] * (retry.TRIES - 1)))
    steps = [waits[step :: retry.TRIES - 1] for step in range(retry.TRIES - 1)]
    for step, seconds in enumerate(steps):
        assert max(seconds) <= min(0.3 * 2**step, 15)
        assert len(set(seconds)) > 1
    assert max(steps[0]) < max(steps[2]) < max(steps[4])


def test_a_full_disk_and_a_wrong_clock_name_the_node() -> None:
    """On a cluster, another node's disk and clock may be well."""
    here = re.escape(socket.gethostname())
    with pytest.raises(StorageError, match=f"Free some space on node {here} and run the same command again"):
        attempt("writing", "there", _Flaky(OSError(errno.ENOSPC, "full")))
    with pytest.raises(StorageError, match=f"clock of node {here} is wrong by minutes: run NTP") as raised:
        attempt("listing", "s3://b", _Flaky(_s3_error("RequestTimeTooSkewed", 403)))
    assert raised.value.permanent
