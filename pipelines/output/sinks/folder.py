"""A folder with a file for every part, whose names say what is done."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from pipelines.config.writers import PART_FORMATS
from pipelines.output.parts import Committed, ShardId, list_names, split_part_name
from pipelines.output.sinks.base import Sink
from pipelines.output.sinks.part_format import CountsDocuments, PartFormat, find_part_format
from pipelines.storage.filesystem import exists, write_atomic
from pipelines.storage.retry import attempt

_THREADS = 16
_BUILT_IN = frozenset(find_part_format(name).suffix for name in PART_FORMATS)


@dataclass(frozen=True)
class PartsFolder(Sink):
    """The parts of one job as files in OUTPUT."""

    @property
    def part_format(self) -> PartFormat:
        """What the files are. Raises ConfigError when `format` names none."""
        return find_part_format(self.format)

    def part_name(self, shard: ShardId) -> str:
        """Name of a shard's part."""
        return shard.part_name(self.job8, self.part_format.suffix)

    def path(self, shard: ShardId) -> str:
        """Path of a shard's part."""
        return self.store.path(self.part_name(shard))

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """The bytes of the file."""
        return self.part_format.encode(table, metadata)

    def write(self, shard: ShardId, data: bytes) -> None:
        """Writes the file, whole or not at all."""
        write_atomic(self.store.fs, self.path(shard), data)

    def has(self, shard: ShardId) -> bool:
        """A fresh look at one file, one request. Raises StorageError when the store does not say."""
        return exists(self.store.fs, self.path(shard))

    def committed(self) -> Committed:
        """The committed shards, from one listing of the folder; a folder that is not there has none.

        Raises:
            StorageError: the folder cannot be listed.
        """
        numbers: dict[int, set[int]] = {}
        last_numbers: dict[int, int] = {}
        foreign = []
        own = self.part_format.suffix
        for name in list_names(self.store):
            part = split_part_name(name)
            if part is None or part.suffix not in (own, *_BUILT_IN):
                continue
            if (part.job8, part.suffix) != (self.job8, own):
                foreign.append(name)
                continue
            unit, number = part.shard.unit, part.shard.number
            numbers.setdefault(unit, set()).add(number)
            if part.shard.last:
                last_numbers[unit] = number
        by_unit = {unit: frozenset(found) for unit, found in numbers.items()}
        return Committed(by_unit, last_numbers, tuple(sorted(foreign)))

    def count_rows(self, shards: Iterable[ShardId]) -> int:
        """Rows in the files of these shards. Raises StorageError when one cannot be read."""
        count_rows = self.part_format.count_rows
        with ThreadPoolExecutor(_THREADS) as threads:
            return sum(threads.map(lambda shard: count_rows(self.store, self.part_name(shard)), shards))

    @classmethod
    def counts_documents(cls, format: str) -> bool:
        """Whether the format does."""
        return isinstance(find_part_format(format), CountsDocuments)

    def count_documents(self, shards: Iterable[ShardId]) -> int:
        """As `Sink.count_documents`: every text has one chunk whose number is 0."""
        format = self.part_format
        if not isinstance(format, CountsDocuments):
            return super().count_documents(shards)
        with ThreadPoolExecutor(_THREADS) as threads:
            return sum(threads.map(lambda shard: format.count_documents(self.store, self.part_name(shard)), shards))

    def remove(self) -> int:
        """Removes the files of all jobs that wrote in a built-in format or this one; returns how many."""
        own = self.part_format.suffix
        paths = [self.store.path(name) for name in list_names(self.store) if is_part(name, own)]
        if paths:
            attempt("removing files", self.store.url, lambda: self.store.fs.rm(paths))
        return len(paths)


def is_part(name: str, *suffixes: str) -> bool:
    """True for the name of a part, of whatever job, in a built-in format or in one of these suffixes."""
    part = split_part_name(name)
    return part is not None and part.suffix in (*suffixes, *_BUILT_IN)
