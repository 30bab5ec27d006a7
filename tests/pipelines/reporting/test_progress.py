"""What a person sees of a running job."""

import io
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from actors.engine.pass_stats import LengthBucket, PassStats
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.reporting.progress import Progress, Tally


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
    stats = PassStats({128: LengthBucket(4, 8, 900, 1000, 0.5)}, Counter({128: 4}))
    return Receipt(ShardId(0, number, False), "a.jsonl", rows=rows, quarantined=quarantined, answered=rows, stats=stats)


def _lost(number: int) -> Receipt:
    return Receipt(ShardId(0, number, False), "a.jsonl", failed_in="write", error="no room", store_errors=8)


def _found(number: int) -> Receipt:
    return Receipt(ShardId(0, number, False), "a.jsonl", found=True)


def _progress(console: Console, before: int = 0) -> Progress:
    return Progress(console, before, shards_expected=10, rows_expected=1000, _started=time.monotonic())


def _plain() -> tuple[Console, io.StringIO]:
    log = io.StringIO()
    return Console(file=log, width=300), log


def test_values_that_are_lost_are_said_once_for_every_column(clock: Clock) -> None:
    log = io.StringIO()
    shown = _progress(Console(file=log, width=40))
    for number in range(3):
        clock.now += 1
        shown.add(replace(_done(number), misfits=Counter({("zip", "null"): 2, ("id", "default_id"): 1})))
    shown.add(replace(_done(3), misfits=Counter({("day", "text"): 1})))
    shown.add(replace(_done(4), misfits=Counter({("id", "no_number"): 1})))
    assert shown.tally.misfits == {
        ("zip", "null"): 6,
        ("day", "text"): 1,
        ("id", "default_id"): 3,
        ("id", "no_number"): 1,
    }
    text = log.getvalue()
    assert text.count("a.jsonl: 'zip': 2 values do not fit the column's type and are null") == 1
    assert [line for line in text.splitlines() if "corpus.types" in line] == [
        "  corpus.types: {zip: string}",
        "  corpus.types: {day: string, zip: string}",
    ]


def test_elsewhere_than_on_a_terminal_a_line_every_ten_seconds(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console, before=2)
    with shown.shown():
        for number in range(6):
            shown.add(_done(number, quarantined=1))
            clock.now += 4
    first, second = log.getvalue().splitlines()
    assert first == "3/10 shards · 101 rows · 0:00 · 1 quarantined · padding 10.0% · windows a pass: 2 of 128 tokens"
    # 3 shards of 101 rows in the 12 seconds since the first, 4 shards of 100 rows to come.
    assert second == (
        "6/10 shards · 404 rows · ETA 0:15 · 25 rows/s · 4 quarantined · padding 10.0% "
        "· windows a pass: 2 of 128 tokens"
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


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (200, "2/10 shards · 200 rows · ETA 16:00 · 0.8 rows/s · padding 10.0% · windows a pass: 2 of 128 tokens"),
        (80, "2/10 shards · 200 rows · ETA 16:00 · 0.8 rows/s · padding 10.0%"),
        (40, "2/10 shards · 200 rows · ETA 16:00"),
        (30, "2/10 shards · 200 rows"),
        (9, "2/10 sha…"),
    ],
)
def test_the_live_line_fits_the_terminal(clock: Clock, width: int, line: str) -> None:
    screen = io.StringIO()
    shown = _progress(Console(file=screen, force_terminal=True, width=width, color_system=None))
    with shown.shown():
        for number in range(2):
            shown.add(_done(number))
            clock.now += 60
    final = screen.getvalue().rpartition("\r")[2]
    assert line in final
    assert "\x1b[1A" not in screen.getvalue(), "one line, which is never longer than the terminal"


def test_a_terminal_that_cannot_move_its_cursor_has_lines_of_text(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = io.StringIO()
    shown = _progress(Console(file=screen, force_terminal=True, width=80, color_system=None))
    with shown.shown():
        shown.add(_done(0))
    assert screen.getvalue() == "1/10 shards · 100 rows · 0:00 · padding 10.0% · windows a pass: 2 of 128 tokens\n"


def test_nothing_is_starting_once_rows_are_there(clock: Clock) -> None:
    shown = _progress(_plain()[0])
    assert shown._line().plain == "0/10 shards · 0 rows · starting, 0:00"
    clock.now += 5
    shown.add(_done(0, rows=0, quarantined=1))
    assert shown._line().plain.startswith("1/10 shards · 1 row · 0:05 · 1 quarantined")


def test_a_run_that_goes_on_counts_the_rows_of_the_whole_job(clock: Clock) -> None:
    shown = Progress(_plain()[0], 4, 10, 1000, rows_before=400, _started=time.monotonic())
    assert shown._line().plain == "4/10 shards · 400 rows · going on, 0:00"
    shown.add(_done(4, quarantined=2))
    assert shown._line().plain.startswith("5/10 shards · 502 rows · 0:00 · 2 quarantined")


def test_a_failed_shard_is_named_at_once_and_forgotten_when_it_is_made_good(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console)
    shown.add(_lost(7))
    assert "shard 0-7 of a.jsonl: write failed: no room" in log.getvalue()
    assert shown.tally.failures == {(0, 7): _lost(7)}
    assert shown.tally.failures_in(0) == [_lost(7)]
    assert shown.tally.failures_in(7) == []
    shown.add(_done(7))
    assert shown.tally.failures == {}
    assert shown.tally.reasons_of_failure() == []


def test_what_is_not_one_shards_is_kept_too(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console)
    shown.note("the cluster is gone")
    shown.note("trying again", is_failure=False)
    shown.add(_lost(7))
    assert shown.tally.reasons_of_failure() == ["no room", "the cluster is gone"]
    assert log.getvalue().startswith("the cluster is gone\ntrying again\n")


def test_what_another_run_committed_meanwhile_is_done_but_not_by_us(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console, before=2)
    shown.add(_lost(3))
    clock.now += 20
    shown.add(_found(3))
    assert shown.tally.failures == {}
    assert log.getvalue().splitlines()[-1] == "3/10 shards · 0 rows · 0:20"
    clock.now += 5
    shown.add(replace(_done(4), started=105.0, committed=120.0))
    clock.now += 10
    shown.add(replace(_done(5), started=110.0, committed=125.0))
    # What was found took no time here.
    assert shown.final_rate() == shown.tally.total / 20
    assert (shown.tally.shards, shown.tally.found) == (2, 1)


def test_more_shards_than_were_expected(clock: Clock) -> None:
    console, log = _plain()
    shown = _progress(console, before=10)
    shown.add(_done(0))
    assert log.getvalue().startswith("11/11 shards")


def test_the_final_rate_is_that_from_the_first_begin_to_the_last_commit(clock: Clock) -> None:
    """Whatever the driver does meanwhile, and however close to each other the commits are."""
    shown = _progress(_plain()[0])
    assert shown.final_rate() == 0.0
    clock.now += 30
    shown.add(replace(_done(0, rows=100), started=102.0, committed=112.01))
    shown.add(replace(_done(1, rows=50, quarantined=50), started=92.0, committed=112.0))
    clock.now += 500
    assert shown.final_rate() == pytest.approx(200 / 20.01)


def test_a_tally_adds_up() -> None:
    tally = Tally()
    for number in range(3):
        tally.add(_done(number, rows=10, quarantined=2))
    tally.add(_lost(3))
    tally.add(_lost(3))
    tally.add(_found(4))
    assert (tally.shards, tally.rows, tally.quarantined, tally.answered) == (3, 30, 6, 30)
    assert (tally.found, tally.store_errors, len(tally.failures)) == (1, 16, 1)
    assert tally.stats.total.windows == 24


def test_the_line_is_made_while_the_tally_grows() -> None:
    progress = Progress(Console(file=io.StringIO(), width=200), 0, 1000, 1000)
    stop, errors = threading.Event(), []

    def show() -> None:
        while not stop.is_set():
            try:
                progress._line()
            except RuntimeError as error:
                errors.append(error)

    threads = [threading.Thread(target=show) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(2000):
        stats = PassStats({number: LengthBucket(4, 8, 900, 1000, 0.5)}, Counter({number: 4}))
        progress.add(Receipt(ShardId(0, number, False), "a.jsonl", rows=1, stats=stats))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
