"""Whether an actor may compute on the node where it has come to lie."""

import subprocess
import sys
import time

import pytest

from actors.version import RESULT_PACKAGES, versions_of
from pipelines.stages.model import node_guard
from pipelines.stages.model.node_guard import NodeGuard, UnfitNode

HERE = versions_of(RESULT_PACKAGES)


def test_the_same_versions_may() -> None:
    assert NodeGuard(HERE).admits(is_restarted=False)
    assert NodeGuard(HERE).admits(is_restarted=True)


def test_an_actor_that_was_started_anew_may_not_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_guard, "_HOLD_SECONDS", 0.0)
    guard = NodeGuard(HERE | {"torch": "1.0.0"})
    assert not guard.admits(is_restarted=True)
    guard.hold()


def test_a_new_actor_waits_and_then_ends_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_guard, "_WAIT_SECONDS", 0.1)
    before = time.monotonic()
    with pytest.raises(UnfitNode, match=r"^node \S+ has torch .* in place of 1\.0\.0, and was given an actor before"):
        NodeGuard(HERE | {"torch": "1.0.0"}).admits(is_restarted=False)
    assert time.monotonic() - before >= 0.1


def test_a_new_actor_does_not_get_ready_at_once() -> None:
    code = (
        "from pipelines.stages.model.node_guard import NodeGuard\n"
        "print('waits', flush=True)\n"
        "NodeGuard({'pyarrow': '1.0.0'}).admits(is_restarted=False)\n"
        "print('went on', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1.0)
        waiting.kill()
        assert waiting.stdout.read() == ""
