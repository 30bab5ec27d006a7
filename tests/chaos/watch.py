"""An eye on an output folder: when each part was there first, and whether it ever changed."""

import threading
import time
from pathlib import Path
from types import TracebackType

from pipelines.output.sinks.folder import is_part

_EVERY_SECONDS = 0.03
_SETTLED_SECONDS = 0.5
"""The S3 server sets a file's time shortly after it has written it."""


class Watch:
    """Looks at the folder again and again in a thread of its own, while the block lasts."""

    def __init__(self, output: Path) -> None:
        """The folder need not be there yet."""
        self._output = output
        self.first_seen: dict[str, float] = {}
        """When each part was seen first, seconds of the epoch: never before it was there."""
        self.written_again: set[str] = set()
        """Parts whose time changed after they had been there for a while."""
        self.vanished: set[str] = set()
        """Parts that were there once, and then were not."""
        self._times: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def __len__(self) -> int:
        return len(self.first_seen)

    def _look_on(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        now: dict[str, int] = {}
        try:
            paths = [path for path in self._output.iterdir() if is_part(path.name)]
            now = {path.name: path.stat().st_mtime_ns for path in paths}
        except FileNotFoundError:
            if not self._times:
                return
        seconds = time.time()
        for name, changed in now.items():
            first = self.first_seen.setdefault(name, seconds)
            if self._times.get(name, changed) != changed and seconds - first > _SETTLED_SECONDS:
                self.written_again.add(name)
        self.vanished |= self._times.keys() - now.keys()
        self._times |= now
