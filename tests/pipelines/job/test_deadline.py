import threading

import pytest

from pipelines.job import deadline
from pipelines.job.deadline import within


def test_it_gives_what_the_call_gives(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "_PATIENCE", 60)
    assert within(60, "a sum", lambda: 1 + 1) == 2
    with pytest.raises(TimeoutError, match="its own"):
        within(60, "a failure", lambda: (_ for _ in ()).throw(TimeoutError("its own")))
    assert capfd.readouterr().err == ""


def test_what_takes_too_long_is_said_and_then_given_up(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "_PATIENCE", 0.01)
    never = threading.Event()
    with pytest.raises(TimeoutError, match=r"^Ray at the moon did not answer within 0\.05 s$"):
        within(0.05, "Ray at the moon", never.wait)
    assert capfd.readouterr().err == "waiting for Ray at the moon, at most 0.05 s ...\n"
    never.set()
