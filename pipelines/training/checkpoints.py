"""Checkpoints of one training run in a folder on any store."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import MissingError
from pipelines.output.parts import list_names
from pipelines.storage.filesystem import Store, read_bytes, write_atomic
from pipelines.storage.retry import attempt

_NAME = re.compile(r"(?P<run>[0-9a-f]{8})-(?P<step>\d{9})\.pt")
_KEPT = 2


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run; their names carry the run, so a stranger's are never taken up."""

    store: Store
    run8: str
    alone: bool = False
    """Whether the folder is this run's own, and goes with it."""

    def save(self, step: int, state: bytes) -> None:
        """Writes the checkpoint after `step` steps, whole or not at all; all but the last two are removed.

        Raises:
            StorageError: it cannot be written.
        """
        write_atomic(self.store.fs, self.store.path(f"{self.run8}-{step:09d}.pt"), state)
        self._remove(self.names()[:-_KEPT])

    def latest(self) -> tuple[str, bytes] | None:
        """Path and content of the last checkpoint; None where there is none.

        Raises:
            StorageError: it cannot be read.
        """
        names = self.names()
        if not names:
            return None
        path = self.store.path(names[-1])
        return path, read_bytes(self.store.fs, path)

    def names(self) -> list[str]:
        """Of this run, oldest first."""
        found = (_NAME.fullmatch(name) for name in list_names(self.store))
        return sorted(match.group() for match in found if match and match["run"] == self.run8)

    def cached(self, name: str) -> bytes | None:
        """What an earlier start of this run has put by; None where it has not."""
        try:
            return read_bytes(self.store.fs, self.store.path(f"{self.run8}-{name}"))
        except MissingError:
            return None

    def cache(self, name: str, data: bytes) -> None:
        """Puts something by for a later start of this run."""
        write_atomic(self.store.fs, self.store.path(f"{self.run8}-{name}"), data)

    def clear(self) -> None:
        """Removes everything of this run; of a folder of its own, the folder too."""
        names = list_names(self.store)
        if not self.alone:
            self._remove([name for name in names if name.startswith(f"{self.run8}-")])
        elif names:
            attempt("removing", self.store.url, lambda: self.store.fs.rm(self.store.root, recursive=True))

    def _remove(self, names: Sequence[str]) -> None:
        if names:
            paths = [self.store.path(name) for name in names]
            attempt("removing files", self.store.url, lambda: self.store.fs.rm(paths))
