"""The checkpoints of one training run, in a folder on any store."""

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
    """The checkpoints of a run. File names start with the run's id, so another run's checkpoints are never loaded."""

    store: Store
    run8: str
    owns_folder: bool = False
    """Whether the folder holds nothing but this run, and is removed with its checkpoints."""

    def save(self, step: int, state: bytes) -> None:
        """Writes the checkpoint after `step` steps atomically, and removes all but the last two.

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
        """File names of this run's checkpoints, oldest first."""
        found = (_NAME.fullmatch(name) for name in list_names(self.store))
        return sorted(match.group() for match in found if match and match["run"] == self.run8)

    def cached(self, name: str) -> bytes | None:
        """A file that `cache` wrote, in this process or before a restart; None where there is none."""
        try:
            return read_bytes(self.store.fs, self.store.path(f"{self.run8}-{name}"))
        except MissingError:
            return None

    def cache(self, name: str, data: bytes) -> None:
        """Writes a file that survives a restart of this run."""
        write_atomic(self.store.fs, self.store.path(f"{self.run8}-{name}"), data)

    def clear(self) -> None:
        """Removes all files of this run, and the folder where it is the run's own."""
        names = list_names(self.store)
        if not self.owns_folder:
            self._remove([name for name in names if name.startswith(f"{self.run8}-")])
        elif names:
            attempt("removing", self.store.url, lambda: self.store.fs.rm(self.store.root, recursive=True))

    def _remove(self, names: Sequence[str]) -> None:
        if names:
            paths = [self.store.path(name) for name in names]
            attempt("removing files", self.store.url, lambda: self.store.fs.rm(paths))
