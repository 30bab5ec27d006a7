"""A read unit becomes a stream of shards of exactly `shard_rows` rows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import pyarrow as pa

from pipelines.corpus.file_version import check_unchanged
from pipelines.corpus.formats.jsonl import read_lines
from pipelines.corpus.formats.line_splitter import LINE_SCHEMA, Lines
from pipelines.corpus.formats.parquet import read_groups
from pipelines.corpus.gaps import Gap, with_gaps
from pipelines.corpus.listing import SourceFile
from pipelines.errors import DamagedError, SpanmillError
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
    """Parquet: the needed columns and `_row` (int64). JSONL: `_line` (large_binary) and `_byte` (int64). Its schema
    tells what is missing of it (`gaps_of`).
    """


class _Rows(Protocol):
    def __len__(self) -> int: ...
    def slice(self, offset: int, length: int) -> Self: ...


R = TypeVar("R", bound=_Rows)


def read_unit(
    file: SourceFile,
    unit: ReadUnit,
    layout: RowSchema,
    storage: Mapping[str, object],
    committed: frozenset[int] = frozenset(),
) -> Iterator[RawShard]:
    """Shards 0, 1, 2 ... of a unit, except those whose number is in `committed`, which cost no payload.

    Every shard has `layout.shard_rows` rows but the last; a unit without rows has one empty shard. Memory: two
    shards, and a row group's compressed bytes (Parquet) or a read buffer (JSONL).

    Where `layout.damaged` is "quarantine", a shard lacks the rows that cannot be read, and its table says so
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
        for raw in _shards(file, unit, layout, storage, committed):
            check_unchanged(file, storage)
            yield raw
    except SpanmillError:
        # Whatever it was, a file that changed meanwhile explains it better.
        check_unchanged(file, storage)
        raise


def _shards(
    file: SourceFile, unit: ReadUnit, layout: RowSchema, storage: Mapping[str, object], committed: frozenset[int]
) -> Iterator[RawShard]:
    rows: Iterator[pa.Table | Lines | Gap]
    if file.format == "parquet":
        rows = _parquet_rows(file, unit, layout, storage, committed)
        empty = pa.table({**{name: pa.nulls(0) for name in layout.needed}, "_row": pa.array([], pa.int64())})
    else:
        rows = _lines(file, unit, layout, storage)
        empty = LINE_SCHEMA.empty_table()
    for number, last, parts in _cut(_capped(rows, unit.rows), layout.shard_rows):
        if number not in committed:
            gaps = [part for part in parts if isinstance(part, Gap)]
            tables = [part.table() if isinstance(part, Lines) else part for part in parts if not isinstance(part, Gap)]
            yield RawShard(unit.index, number, last, with_gaps(pa.concat_tables(tables or [empty]), gaps))


def _parquet_rows(
    file: SourceFile, unit: ReadUnit, layout: RowSchema, storage: Mapping[str, object], committed: frozenset[int]
) -> Iterator[pa.Table | Gap]:
    def is_wanted(first: int, stop: int) -> bool:
        shards = range(first // layout.shard_rows, -(-stop // layout.shard_rows))
        return not committed.issuperset(shards)

    groups = range(unit.start, unit.stop)
    keep_on = layout.damaged == "quarantine"
    try:
        yield from read_groups(
            file, groups, unit.first_row, layout.needed, layout.shard_rows, storage, is_wanted, keep_on
        )
    except DamagedError as error:
        if not keep_on:
            raise
        # It is the footer, so there was not one row before.
        yield Gap(unit.first_row, unit.rows or 0, str(error))


def _lines(file: SourceFile, unit: ReadUnit, layout: RowSchema, storage: Mapping[str, object]) -> Iterator[Lines | Gap]:
    keep_on = layout.damaged == "quarantine"
    try:
        yield from read_lines(file, unit.start, unit.stop, storage, layout.max_line_bytes, keep_on)
    except DamagedError as error:
        if not keep_on:
            raise
        yield Gap(error.place, 0, str(error))


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
