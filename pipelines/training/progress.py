"""The display of a training run: a live line on a terminal, lines of text elsewhere, and every evaluation."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipelines.console import clock, fitting_line
from pipelines.evaluation.squad import SkippedRows
from pipelines.training.messages import HeldOutScores, StepProgress, TeacherAlignment
from pipelines.words import counted

_LOG_EVERY_SECONDS = 10.0


@dataclass
class TrainingProgress:
    """Shows the messages of the workers; a context manager, which starts and stops the live line."""

    console: Console
    _started: float = field(default_factory=time.monotonic)
    _logged: float = 0.0
    _live: Live | None = None
    _parts: Sequence[str] = ("starting Ray, loading and tokenising",)
    """Of the line, the most important first."""

    def __enter__(self) -> "TrainingProgress":
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._text, console=self.console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def add(self, message: StepProgress | HeldOutScores | SkippedRows | TeacherAlignment) -> None:
        """Shows one message."""
        if isinstance(message, SkippedRows):
            self.console.print(str(message), style="yellow")
        elif isinstance(message, TeacherAlignment):
            self.console.print(str(message))
        elif isinstance(message, HeldOutScores):
            scores = f"EM {message.em:.1f}, F1 {message.f1:.1f} on {counted(message.rows, 'held-out row')}"
            self.console.print(f"step {message.step:,}: {scores}")
        else:
            self._parts = _parts_of(message)
            now = time.monotonic()
            is_last = message.step == message.steps
            if self._live is None and (now - self._logged >= _LOG_EVERY_SECONDS or is_last):
                self._logged = now
                self.console.print(fitting_line(self._parts, self.console.width))

    def _text(self) -> Text:
        return fitting_line((*self._parts, clock(time.monotonic() - self._started)), self.console.width)


def _parts_of(at: StepProgress) -> list[str]:
    left = (at.steps - at.step) / max(at.steps_per_second, 1e-9)
    drift = at.embeddings
    embeddings = [f"distance {drift.distance:.4f}", f"weight {drift.weight:.1f}"] if drift else []
    speed = [f"{at.rows_per_second:,.1f} rows/s", f"{at.tokens_per_second:,.0f} tokens/s"]
    return [f"step {at.step:,}/{at.steps:,}", f"loss {at.loss:.3f}", f"ETA {clock(left)}", *embeddings, *speed]
