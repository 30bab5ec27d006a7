"""A part format and a sink that are no part of the package, as somebody might add them."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipelines.output.parts import Committed, ShardId
from pipelines.output.sinks.base import Sink
from pipelines.storage.filesystem import Store, read_bytes


@dataclass(frozen=True)
class _ArrowFile:
    """Arrow IPC files."""

    suffix = "arrow"

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema.with_metadata(dict(metadata))) as writer:
            writer.write_table(table)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    def count_rows(self, store: Store, name: str) -> int:
        return len(pa.ipc.open_file(read_bytes(store.fs, store.path(name))).read_all())


ARROW = _ArrowFile()


@dataclass(frozen=True)
class SqliteSink(Sink):
    """A database in OUTPUT, a row for every part."""

    @property
    def file(self) -> Path:
        return Path(self.store.path("parts.db"))

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        return ARROW.encode(table, metadata)

    def write(self, shard: ShardId, data: bytes) -> None:
        rows = pa.ipc.open_file(data).read_all().num_rows
        with self._open() as database:
            values = (self.job8, shard.unit, shard.number, shard.last, rows, data)
            database.execute("insert or replace into parts values (?, ?, ?, ?, ?, ?)", values)

    def has(self, shard: ShardId) -> bool:
        return shard.number in self.committed().numbers(shard.unit)

    def committed(self) -> Committed:
        by_unit: dict[int, set[int]] = {}
        last_numbers = {}
        with self._open() as database:
            found = database.execute("select job, unit, number, last from parts").fetchall()
        for job, unit, number, last in found:
            if job == self.job8:
                by_unit.setdefault(unit, set()).add(number)
            if job == self.job8 and last:
                last_numbers[unit] = number
        foreign = tuple(sorted({job for job, *_ in found} - {self.job8}))
        return Committed({unit: frozenset(numbers) for unit, numbers in by_unit.items()}, last_numbers, foreign)

    def count_rows(self, shards: Iterable[ShardId]) -> int:
        wanted = {(shard.unit, shard.number) for shard in shards}
        with self._open() as database:
            found = database.execute("select unit, number, rows from parts where job = ?", (self.job8,)).fetchall()
        return sum(rows for unit, number, rows in found if (unit, number) in wanted)

    def remove(self) -> int:
        with self._open() as database:
            removed = database.execute("delete from parts").rowcount
        self.file.unlink()
        return removed

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        self.file.parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(self.file)) as database, database:
            columns = "job, unit, number, last, rows, data, primary key (job, unit, number)"
            database.execute(f"create table if not exists parts ({columns})")
            yield database
