"""What a person sees of a training run: a live line on a terminal, log lines elsewhere, and every judgement."""

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipelines.console import clock
from pipelines.evaluation.squad import LeftOut
from pipelines.training.messages import Advance, Judged

_LOG_EVERY_SECONDS = 10.0


@dataclass
class TrainingProgress:
    """Shows what the foreman says; a context manager."""

    console: Console
    _started: float = field(default_factory=time.monotonic)
    _logged: float = 0.0
    _live: Live | None = None
    _line: str = "starting Ray, loading and tokenising"

    def __enter__(self) -> "TrainingProgress":
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._text, console=self.console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def add(self, word: Advance | Judged | LeftOut) -> None:
        """Shows one word."""
        if isinstance(word, LeftOut):
            self.console.print(str(word), style="yellow")
            return
        if isinstance(word, Judged):
            self.console.print(f"step {word.step:,}: EM {word.em:.1f}, F1 {word.f1:.1f} on {word.rows:,} held-out rows")
            return
        left = (word.steps - word.step) / max(word.steps_per_second, 1e-9)
        kept = f"distance {word.kept.distance:.4f} · weight {word.kept.weight:.1f} · " if word.kept else ""
        self._line = (
            f"step {word.step:,}/{word.steps:,} · loss {word.loss:.3f} · {kept}{word.rows_per_second:,.1f} rows/s · "
            f"{word.tokens_per_second:,.0f} tokens/s · ETA {clock(left)}"
        )
        now = time.monotonic()
        if self._live is None and (now - self._logged >= _LOG_EVERY_SECONDS or word.step == word.steps):
            self._logged = now
            self.console.print(self._line)

    def _text(self) -> Text:
        return Text(f"{self._line} · {clock(time.monotonic() - self._started)}", overflow="fold")
