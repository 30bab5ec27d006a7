"""A place to write: what it has to do, and the order of a commit, which is the same for all."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from actors.registry import find_object
from pipelines.config.writers import SINKS
from pipelines.errors import ConfigError
from pipelines.output.encoding import to_parquet
from pipelines.output.parts import QUARANTINE_FOLDER, Committed, ShardId, write_success
from pipelines.output.sinks.part_format import PARQUET, find_part_format
from pipelines.storage.filesystem import Store, write_atomic


@dataclass(frozen=True)
class Sink(ABC):
    """Where the parts of one job go, a part being the results of one shard. It is pickled and sent to workers.

    Whatever the sink, OUTPUT holds the manifest, the quarantine, receipts, reports and the mark of success.
    """

    store: Store
    """OUTPUT."""
    job8: str
    """Start of the job's id, by which its parts are known from those of other jobs."""
    format: str
    """`output.format`."""

    @abstractmethod
    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """What `write` will be given of a shard; equal bytes for an equal table. Touches nothing."""

    @abstractmethod
    def write(self, shard: ShardId, data: bytes) -> None:
        """Makes a part visible, whole or not at all: it is the commit. The same shard again replaces it.

        Raises:
            StorageError: rights, space or network; nothing of the part is visible then.
        """

    @abstractmethod
    def has(self, shard: ShardId) -> bool:
        """A fresh look at one shard's part. Raises StorageError when the store does not say."""

    @abstractmethod
    def committed(self) -> Committed:
        """The committed shards, from a fresh listing; a place that is not there has none.

        Raises:
            StorageError: it cannot be listed.
        """

    @abstractmethod
    def count_rows(self, shards: Iterable[ShardId]) -> int:
        """Rows in the parts of these committed shards. Raises StorageError when one cannot be read."""

    @classmethod
    def counts_documents(cls, format: str) -> bool:
        """Whether `count_documents` knows for parts of this `output.format`; a job of chunks asks before it begins."""
        return cls.count_documents is not Sink.count_documents

    def count_documents(self, shards: Iterable[ShardId]) -> int:
        """Input rows in the parts of these committed shards of a job that writes a row for each chunk of a text. Asked
        for where a run was killed before it could write its receipts.

        Raises:
            StorageError: a part cannot be read.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method count_documents")

    @abstractmethod
    def remove(self) -> int:
        """Removes all parts, of whatever job; returns how many. Raises StorageError when that fails."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Marks the job as complete. A sink with something left to do at the end does it first."""
        write_success(self.store, summary)

    def quarantine_name(self, shard: ShardId) -> str:
        """Name in OUTPUT of a shard's quarantine, which is Parquet whatever the parts are."""
        return f"{QUARANTINE_FOLDER}/{shard.part_name(self.job8, PARQUET.suffix)}"

    def commit(self, shard: ShardId, table: pa.Table, quarantine: pa.Table, metadata: Mapping[str, str]) -> int:
        """Writes a shard's quarantine, if it has rows, and then its part, even without rows: the part is the commit.

        Both are given `metadata` with job, rows and quarantined added; in Parquet it is in the footer as
        `spanmill.<key>`. Writing the same shard again replaces it by an equal one.

        Returns:
            The part's size in bytes.

        Raises:
            StorageError: rights, space or network; nothing of the part is visible then.
        """
        counts = {"job": self.job8, "rows": str(len(table)), "quarantined": str(len(quarantine))}
        keyed = {**metadata, **counts}
        data = self.encode(table, keyed)
        if len(quarantine):
            write_atomic(self.store.fs, self.store.path(self.quarantine_name(shard)), to_parquet(quarantine, keyed))
        self.write(shard, data)
        return len(data)


def find_sink(name: str, format: str) -> type[Sink]:
    """The sink that `output.sink` names, to be made with OUTPUT, the job and `output.format`.

    Raises:
        ConfigError: there is no such sink or format, or it cannot be imported.
    """
    find_part_format(format)
    try:
        return cast(type[Sink], find_object(SINKS, name, "output.sink"))
    except LookupError as error:
        raise ConfigError(str(error)) from error
