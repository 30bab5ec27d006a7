"""Which errors are tried again, and what the last one says."""

import errno
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity.nap

from pipelines import retries
from pipelines.errors import MissingError, StorageError
from pipelines.retries import attempt, is_transient

boto = pytest.importorskip("botocore.exceptions")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda seconds: None))


def _s3_error(code: str, status: int) -> OSError:
    cause = boto.ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")
    error = OSError(errno.EINVAL, code)
    error.__cause__ = cause
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
    with pytest.raises(StorageError, match=r"s3://b/k: reading failed: ConnectionResetError: away .*Check network"):
        attempt("reading", "s3://b/k", call)
    assert call.calls == retries.TRIES


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


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (_s3_error("SlowDown", 503), True),
        (_s3_error("IncompleteBody", 400), True),
        (_s3_error("AccessDenied", 403), False),
        (boto.EndpointConnectionError(endpoint_url="http://x"), True),
        (boto.FlexibleChecksumError(error_msg="damaged on the way"), True),
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
