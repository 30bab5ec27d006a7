"""What a person sees of a running job."""

import io
import time
from collections import Counter

import pytest
from rich.console import Console

from actors.stats import PassStats
from pipelines.progress import Progress, Tally
from pipelines.receipts import Receipt
from pipelines.shards import ShardId


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def _done(number: int, rows: int = 100, quarantined: int = 0) -> Receipt:
    stats = PassStats(4, 8, 900, 1000, 0.5, 0, Counter({128: 4}), Counter({128: 8}))
    return Receipt(ShardId(0, number, False), "", rows, quarantined, rows, stats)


def _lost(number: int) -> Receipt:
    return Receipt(ShardId(0, number, False), "no room", 0, 0, 0, PassStats())


def _progress(console: Console, before: int = 0) -> Progress:
    return Progress(console, before, shards_expected=10, rows_per_shard=100, _started=time.monotonic())


def _plain() -> tuple[Console, io.StringIO]:
    log = io.StringIO()
    return Console(file=log, width=300), log


def test_elsewhere_than_on_a_terminal_a_line_every_ten_seconds(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console, before=2)
    with shown.shown():
        for number in range(6):
            shown.add(_done(number, quarantined=1))
            clock.now += 4
    first, second = log.getvalue().splitlines()
    assert first == "3/10 shards · 100 rows · starting, 0:00 · 1 quarantined · padding 10.0% · batch by length 128:2"
    # 3 shards of 101 rows in the 12 seconds since the first, 4 shards of 100 rows to come.
    assert second == (
        "6/10 shards · 400 rows · 25 rows/s · ETA 0:15 · 4 quarantined · padding 10.0% · batch by length 128:2"
    )


def test_a_terminal_has_one_live_line(clock: Clock) -> None:
    screen = io.StringIO()
    shown = _progress(Console(file=screen, force_terminal=True, width=200, color_system=None))
    with shown.shown():
        for number in range(10):
            shown.add(_done(number))
            clock.now += 60
    final = screen.getvalue().rpartition("\r")[2]
    assert "10/10 shards · 1,000 rows" in final
    assert "ETA 0:00" in final
    assert "1/10 shards" not in final


def test_a_failed_shard_is_named_at_once_and_forgotten_when_it_is_made_good(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console)
    shown.add(_lost(7))
    assert "shard 0-7: no room" in log.getvalue()
    assert shown.tally.failures == {(0, 7): "no room"}
    shown.add(_done(7))
    assert shown.tally.failures == {}


def test_what_is_not_one_shards_is_kept_too(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console)
    shown.note("the cluster is gone")
    shown.note("again")
    assert list(shown.tally.failures.values()) == ["the cluster is gone", "again"]
    assert "the cluster is gone" in log.getvalue()


def test_more_shards_than_were_expected(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console, before=10)
    shown.add(_done(0))
    assert log.getvalue().startswith("11/11 shards")


def test_the_final_rate_is_that_between_the_first_and_the_last_commit(clock: Clock) -> None:
    shown = _progress(_plain()[0])
    assert shown.final_rate() == 0.0
    clock.now += 30
    shown.add(_done(0))
    assert shown.final_rate() == 0.0
    clock.now += 10
    shown.add(_done(1, rows=50, quarantined=50))
    clock.now += 500
    assert shown.final_rate() == 10.0


def test_a_tally_adds_up() -> None:
    tally = Tally()
    for number in range(3):
        tally.add(_done(number, rows=10, quarantined=2))
    tally.add(_lost(3))
    assert (tally.shards, tally.rows, tally.quarantined, tally.answered) == (3, 30, 6, 30)
    assert tally.stats.total.windows == 24
