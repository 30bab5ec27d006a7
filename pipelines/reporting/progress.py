"""The progress display of a running job: a live line on a terminal, lines of text elsewhere."""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from actors.engine.pass_stats import PassStats
from pipelines.console import clock, fitting_line
from pipelines.output.receipt import Receipt
from pipelines.rows.misfits import MisfitCounts, advice, describe
from pipelines.words import counted, of_lengths

_LOG_EVERY_SECONDS = 10.0
_SILENCE_SECONDS = 30.0
_FAST = 10.0
"""Rows per second from which on nobody looks at tenths."""


@dataclass
class Tally:
    """Counts of one run over its receipts."""

    shards: int = 0
    rows: int = 0
    """Input rows in committed parts."""
    quarantined: int = 0
    """Rows in their quarantine."""
    answered: int = 0
    chunks: int = 0
    """Rows of the parts, where each is a chunk of an input row."""
    stats: PassStats = field(default_factory=PassStats)
    found: int = 0
    """Shards that another run committed meanwhile."""
    misfits: MisfitCounts = field(default_factory=Counter)
    """Rows with a value that is not written as it is, by column and `rows.misfits.Outcome`."""
    store_errors: int = 0
    """Calls to a store that failed, whether a retry then succeeded or not."""
    failures: dict[tuple[int, int], Receipt] = field(default_factory=dict)
    """The last failure of every shard that is not committed, by unit and number."""
    mishaps: list[str] = field(default_factory=list)
    """Errors that concern the run and not a single shard."""

    def add(self, receipt: Receipt) -> None:
        """Counts one receipt."""
        self.store_errors += receipt.store_errors
        key = (receipt.shard.unit, receipt.shard.number)
        if receipt.failed_in:
            self.failures[key] = receipt
            return
        self.failures.pop(key, None)
        if receipt.found:
            self.found += 1
            return
        self.shards += 1
        self.rows += receipt.rows
        self.quarantined += receipt.quarantined
        self.answered += receipt.answered
        self.chunks += receipt.chunks or 0
        self.stats.add(receipt.stats)
        self.misfits.update(receipt.misfits)

    @property
    def total(self) -> int:
        """Input rows of the committed shards, bad ones included."""
        return self.rows + self.quarantined

    def failures_in(self, unit: int) -> list[Receipt]:
        """The failures in one read unit."""
        return [receipt for (number, _), receipt in self.failures.items() if number == unit]

    def reasons_of_failure(self) -> list[str]:
        """Messages of all errors: first those of shards, then those of the run."""
        return [*(receipt.error for receipt in self.failures.values()), *self.mishaps]


@dataclass
class Progress:
    """Shows a tally as it grows."""

    console: Console
    shards_before: int
    """Shards that earlier runs committed."""
    shards_expected: int
    """Shards of the whole job, as far as the plan can tell."""
    rows_expected: int
    """Rows of the whole job, likewise."""
    rows_before: int = 0
    """Rows in the shards that earlier runs committed."""
    pieces: str = "shards"
    """What the line calls them."""
    tally: Tally = field(default_factory=Tally)
    _started: float = field(default_factory=time.monotonic)
    _first: float | None = None
    _first_rows: int = 0
    _began: float = math.inf
    """When the model began with the first shard of this run; seconds of the epoch, by the clocks of the workers."""
    _ended: float = 0.0
    """When the last one was committed."""
    _logged: float = 0.0
    _live: Live | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def shown(self) -> Iterator["Progress"]:
        """Shows the live line while the block runs; where there is no terminal, prints a line now and then instead."""
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            stop = threading.Event()
            printer = threading.Thread(target=self._print_regularly, args=(stop,), daemon=True)
            printer.start()
            try:
                yield self
            finally:
                stop.set()
                printer.join()
            return
        with Live(self._line(), console=self.console, refresh_per_second=4, get_renderable=self._line) as live:
            self._live = live
            yield self
        self._live = None

    def add(self, receipt: Receipt) -> None:
        """Counts a receipt and shows it."""
        now = time.monotonic()
        self._say_misfits(receipt)
        with self._lock:
            self.tally.add(receipt)
        if not receipt.failed_in and not receipt.found:
            self._began, self._ended = min(self._began, receipt.started), max(self._ended, receipt.committed)
            if self._first is None:
                self._first, self._first_rows = now, self.tally.total
        if receipt.failed_in:
            place = f"shard {receipt.shard.unit}-{receipt.shard.number} of {receipt.file}"
            self.console.print(f"{place}: {receipt.failed_in} failed: {receipt.error}", style="red")
        if self._live is None and now - self._logged >= _LOG_EVERY_SECONDS:
            self._logged = now
            self.console.print(self._line())

    def _say_misfits(self, receipt: Receipt) -> None:
        """Says what is not as it was where it is the first of its column, and what mends all that was seen so far."""
        new = {key: count for key, count in receipt.misfits.items() if key not in self.tally.misfits}
        texts = [f"{receipt.file}: {describe(*key, count)}" for key, count in new.items()]
        if advice(new):
            texts.append(advice({*self.tally.misfits, *new}))
        for text in texts:
            self.console.print(text, style="yellow", markup=False, soft_wrap=True)

    def _print_regularly(self, stop: threading.Event) -> None:
        """Prints a line when nothing was printed for a while, to show that the job is alive."""
        while not stop.wait(_LOG_EVERY_SECONDS):
            if time.monotonic() - self._logged >= _SILENCE_SECONDS:
                self._logged = time.monotonic()
                self.console.print(self._line())

    def rate(self) -> float:
        """Rows per second since the first shard was committed; 0 before that."""
        if self._first is None:
            return 0.0
        seconds = time.monotonic() - self._first
        return (self.tally.total - self._first_rows) / seconds if seconds > 0 else 0.0

    def final_rate(self) -> float:
        """Rows per second from when the model began with the first shard to the last commit; 0 where there was none.

        Not from the first commit: of few shards, several are committed at nearly the same moment.
        """
        return self.tally.total / (self._ended - self._began) if self._ended > self._began else 0.0

    def note(self, text: str, is_failure: bool = True) -> None:
        """Shows a message that concerns the run and not a single shard; a failure is repeated at the end."""
        if is_failure:
            self.tally.mishaps.append(text)
        self.console.print(text, style="red" if is_failure else None)

    def _line(self) -> Text:
        # Other threads show it, too, while the job's own adds to what is shown.
        with self._lock:
            return fitting_line(self._parts(), self.console.width)

    def _parts(self) -> Iterator[str]:
        """What matters most comes first: a narrow terminal shows no more."""
        tally = self.tally
        done = self.shards_before + tally.shards + tally.found
        expected = max(self.shards_expected, done)
        yield f"{done:,}/{expected:,} {self.pieces}"
        yield counted(self.rows_before + tally.total, "row")
        rate = self.rate()
        running = clock(time.monotonic() - self._started)
        if rate:
            yield f"ETA {clock(self.rows_expected * (expected - done) / expected / rate)}"
            yield f"{rate:,.{0 if rate >= _FAST else 1}f} rows/s"
        elif tally.shards or tally.found or tally.failures:
            yield running
        else:
            yield f"{'going on' if self.shards_before else 'starting'}, {running}"
        if tally.quarantined:
            yield f"{tally.quarantined:,} quarantined"
        if tally.stats.total.passes:
            yield f"padding {tally.stats.total.padding:.1%}"
            yield f"windows a pass: {of_lengths(tally.stats.batch_sizes(), digits=0)}"
