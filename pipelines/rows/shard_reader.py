"""Reading a unit as a stream of shards, each of exactly `shard_rows` rows but the last."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

import pyarrow as pa

from pipelines.corpus.file_version import check_unchanged
from pipelines.corpus.formats.base import find_format
from pipelines.corpus.gaps import Gap, with_gaps
from pipelines.corpus.partitions import fill_partitions
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import SpanmillError
from pipelines.planning.plan import ReadUnit
from pipelines.planning.row_schema import RowSchema


@dataclass(frozen=True)
class RawShard:
    """Rows as they were read, not yet validated."""

    unit: int
    number: int
    """Within the unit, from 0."""

    last: bool
    """No shard of the unit comes after this one."""

    table: pa.Table
    """Raw rows as the file's format gives them (`pipelines.corpus.formats.base`): a place column, and the needed
    columns or lines of JSON; and the partitions that the file lies in. Its schema tells what is missing (`gaps_of`).
    """


class _Sliceable(Protocol):
    def __len__(self) -> int: ...
    def slice(self, offset: int, length: int) -> Self: ...


R = TypeVar("R", bound=_Sliceable)


def read_unit(
    file: SourceFile,
    unit: ReadUnit,
    row_schema: RowSchema,
    storage: Mapping[str, object],
    committed: frozenset[int] = frozenset(),
) -> Iterator[RawShard]:
    """Shards 0, 1, 2 ... of a unit, except those whose number is in `committed`, which cost no payload.

    Every shard has `row_schema.shard_rows` rows but the last; a unit without rows has one empty shard. Memory: two
    shards, and what the format holds: a row group's compressed bytes (Parquet), a read buffer (JSONL).

    Where `row_schema.damaged` is "quarantine", a shard lacks the rows that cannot be read, and its table says so
    (`gaps_of`). Lost rows of a row group count as rows, so that all others are in the shards where they would be;
    a compressed stream is over where it breaks off.

    No shard comes of a file that is not, before and after its reading, the one that was listed.

    Raises:
        DamagedError: the file is damaged or cut short.
        CorpusError: the file is gone or changed.
        StorageError: the file cannot be read.
    """
    check_unchanged(file, storage)
    try:
        for raw in _shards(file, unit, row_schema, storage, committed):
            check_unchanged(file, storage)
            yield raw
    except SpanmillError:
        # Whatever it was, a file that changed meanwhile explains it better.
        check_unchanged(file, storage)
        raise


def _shards(
    file: SourceFile, unit: ReadUnit, row_schema: RowSchema, storage: Mapping[str, object], committed: frozenset[int]
) -> Iterator[RawShard]:
    def is_wanted(first: int, stop: int) -> bool:
        shards = range(first // row_schema.shard_rows, -(-stop // row_schema.shard_rows))
        return not committed.issuperset(shards)

    format = find_format(file.format)
    rows = format.read(file, unit.span, replace(row_schema.read_options(storage), is_wanted=is_wanted))
    for number, last, parts in _cut(_capped(rows, unit.rows), row_schema.shard_rows):
        if number not in committed:
            gaps = [part for part in parts if isinstance(part, Gap)]
            tables = [
                part if isinstance(part, pa.Table) else part.table() for part in parts if not isinstance(part, Gap)
            ]
            raw = pa.concat_tables(tables or [format.empty(row_schema.needed)])
            raw = fill_partitions(raw, file, row_schema.needed)
            yield RawShard(unit.index, number, last, with_gaps(raw, gaps))


def _capped(stream: Iterable[R], most: int | None) -> Iterator[R]:
    if most is None:
        yield from stream
        return
    left = most
    for rows in stream:
        yield rows.slice(0, min(left, len(rows)))
        left -= len(rows)
        if left <= 0:
            return


def _cut(stream: Iterable[R], shard_rows: int) -> Iterator[tuple[int, bool, list[R]]]:
    """(number, last, parts) of every shard; a full shard leaves only when a further row has been seen."""
    number, parts, room = 0, list[R](), shard_rows
    for rows in stream:
        offset = 0
        if not len(rows) and isinstance(rows, Gap):
            parts.append(rows)
        while offset < len(rows):
            if room == 0:
                yield number, False, parts
                number, parts, room = number + 1, [], shard_rows
            taken = min(room, len(rows) - offset)
            parts.append(rows.slice(offset, taken))
            offset += taken
            room -= taken
    yield number, True, parts
