"""When an actor whose node goes takes no more work, and when it ends; tests/pipelines/test_nodes.py has real ones."""

import pytest

from pipelines.stages.model.departure import Departure


def test_only_actors_of_ray_watch_their_node() -> None:
    assert Departure.watched() is None


def test_what_is_begun_is_finished_and_the_rest_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("pipelines.stages.model.departure.time.monotonic", lambda: clock[0])
    going = Departure()
    with going.working() as may_begin:
        assert may_begin
        going.begun.set()
        clock[0] += 60
        assert not going.is_quiet
        with going.working() as may_begin:
            assert not may_begin
    assert not going.is_quiet
    clock[0] += 10
    assert going.is_quiet
