"""Parquet as an input format: footers tell columns and rows, and row groups are read as small tables."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.formats.base import ROW, Division, FirstLook, LookOptions, ReadOptions, Span
from pipelines.corpus.gaps import Gap
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError, DamagedError, StorageError
from pipelines.storage.filesystem import is_local, resolve
from pipelines.storage.range_reader import RangeFile
from pipelines.storage.retry import attempt

_FAILURES = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, OSError)
"""What Arrow says of damaged bytes."""


# Of text in compressed row groups; only estimates hang on it.
_COMPRESSION_RATIO = 4


class ParquetFormat:
    """Parquet files: the footer declares columns, types and rows, and row groups are packed into read units."""

    suffixes: tuple[str, ...] = (".parquet", ".pq")
    may_be_compressed: bool = False

    def division(self, file: SourceFile) -> Division:
        """Reading begins at a row group."""
        return "groups"

    def look(self, file: SourceFile, options: LookOptions) -> FirstLook:
        """Reads the footer.

        Raises:
            DamagedError: it is damaged, cut short, or of no Parquet file; not with `keep_on`.
            CorpusError: a needed column is there twice.
            StorageError: it cannot be read.
        """
        try:
            footer = read_footer(file, options.needed, options.storage)
        except DamagedError:
            if not options.keep_on:
                raise
            # The reader will find out for itself, and say so in the file's only shard.
            return FirstLook((), None, (Span(0, 0, 0, 0),), 0, 0, is_telling=False, is_lost=True)
        _check_unique(file, footer, options.needed)
        schema = _first_of_each_name(footer.schema)
        return FirstLook(
            names=tuple(schema.names),
            schema=schema,
            spans=tuple(_pack(footer, options.unit_bytes)),
            rows=sum(footer.group_rows),
            text_bytes=_COMPRESSION_RATIO * sum(footer.group_bytes),
        )

    def read(self, file: SourceFile, span: Span, options: ReadOptions) -> Iterator[pa.Table | Gap]:
        """The rows of some row groups, with gaps where pages of them are damaged."""
        try:
            yield from read_groups(
                *(file, range(span.start, span.stop), span.first_row, options.needed, options.batch_rows),
                *(options.storage, options.is_wanted, options.keep_on),
            )
        except DamagedError as error:
            if not options.keep_on:
                raise
            # It is the footer, so there was not one row before.
            yield Gap(span.first_row, span.rows or 0, str(error))

    def empty(self, needed: Sequence[str]) -> pa.Table:
        """The columns without rows."""
        return pa.table({**{name: pa.nulls(0) for name in needed}, ROW: pa.array([], pa.int64())})


PARQUET = ParquetFormat()
"""What `corpus.format: parquet` stands for."""


@dataclass(frozen=True)
class Footer:
    """What the plan needs of a file's footer."""

    schema: pa.Schema
    group_rows: tuple[int, ...]
    """Rows of every row group."""

    group_bytes: tuple[int, ...]
    """Compressed bytes of every row group's needed columns."""


def read_footer(file: SourceFile, needed: Sequence[str], storage: Mapping[str, object]) -> Footer:
    """Schema and row groups of a file.

    Raises:
        DamagedError: it is damaged, cut short, or no Parquet file.
        StorageError: it cannot be read.
    """
    with _opened(file, storage) as parquet:
        metadata = parquet.metadata
        # A leaf's path begins with its column's name, which may itself hold dots.
        prefixes = tuple(f"{name}." for name in needed)
        paths = [f"{metadata.schema.column(index).path}." for index in range(metadata.num_columns)]
        leaves = [index for index, path in enumerate(paths) if path.startswith(prefixes)]
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        return Footer(
            schema=parquet.schema_arrow,
            group_rows=tuple(group.num_rows for group in groups),
            group_bytes=tuple(sum(group.column(leaf).total_compressed_size for leaf in leaves) for group in groups),
        )


def read_groups(
    file: SourceFile,
    groups: range,
    first_row: int,
    needed: Sequence[str],
    batch_rows: int,
    storage: Mapping[str, object],
    is_wanted: Callable[[int, int], bool],
    keep_on: bool = False,
) -> Iterator[pa.Table | Gap]:
    """Rows of some row groups, in order, as tables of at most `batch_rows` rows with the needed columns and `_row`
    (int64, number in the file). A column that the file lacks is null.

    `is_wanted(first, stop)` is asked for every row group with its rows, counted from the first group's first row;
    a group that is not wanted is not read, and comes as a table with `_row` alone. With `keep_on`, the rest of a
    group is a Gap from where a page of it is damaged; what it has and lacks is the same in every reading.

    Raises:
        DamagedError: the footer is damaged or cut short, or without `keep_on` a page.
        StorageError: the file cannot be read.
    """
    with _opened(file, storage) as parquet:
        present = [name for name in needed if name in parquet.schema_arrow.names]
        done = 0
        for group in groups:
            rows = parquet.metadata.row_group(group).num_rows
            if not is_wanted(done, done + rows):
                yield _numbered(None, (), first_row + done, rows)
                done += rows
                continue
            stop = done + rows
            try:
                for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=present, use_threads=False):
                    yield _numbered(batch, needed, first_row + done, batch.num_rows)
                    done += batch.num_rows
                if done != stop:
                    raise pa.ArrowInvalid(f"row group {group} holds {rows - stop + done} of its {rows} rows")
            except _FAILURES as error:
                damage = _damage(file, error)
                if not keep_on:
                    raise damage from error
                yield Gap(first_row + done, stop - done, str(damage))
                done = stop


def _check_unique(file: SourceFile, footer: Footer, needed: Sequence[str]) -> None:
    """Raises CorpusError where a needed column is there twice, and there are rows."""
    counts = Counter(footer.schema.names)
    twice = [name for name in needed if counts[name] > 1]
    if twice and sum(footer.group_rows):
        raise CorpusError(
            f"{file.name}: there are {counts[twice[0]]} columns named {twice[0]!r}, and nothing says which is meant. "
            f"Rename one in {file.url}, or leave the file out of the input."
        )


def _first_of_each_name(schema: pa.Schema) -> pa.Schema:
    """A column that nobody needs, or of a file without rows, may be there twice."""
    first = {field.name: field for field in reversed(list(schema))}
    return pa.schema([first[name] for name in dict.fromkeys(schema.names)])


def _pack(footer: Footer, unit_bytes: int) -> Iterator[Span]:
    start = first_row = rows = size = 0
    for group, (group_rows, group_bytes) in enumerate(zip(footer.group_rows, footer.group_bytes, strict=True)):
        if group > start and size + group_bytes > unit_bytes:
            yield Span(start, group, first_row, rows)
            start, first_row, rows, size = group, first_row + rows, 0, 0
        rows += group_rows
        size += group_bytes
    yield Span(start, len(footer.group_rows), first_row, rows)


def _numbered(batch: pa.RecordBatch | None, needed: Sequence[str], first_row: int, rows: int) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    if batch is not None:
        for name in needed:
            columns[name] = batch.column(name) if name in batch.schema.names else pa.nulls(rows)
    columns[ROW] = pa.array(np.arange(first_row, first_row + rows, dtype=np.int64))
    return pa.table(columns)


@contextmanager
def _opened(file: SourceFile, storage: Mapping[str, object]) -> Iterator[pq.ParquetFile]:
    store = resolve(file.url, storage)
    local = is_local(store.fs)
    if local:
        source = attempt("reading", store.root, lambda: pa.OSFile(store.root))
    else:
        source = pa.PythonFile(RangeFile(store.fs, store.root, file.size), mode="r")
    try:
        with source, pq.ParquetFile(source, pre_buffer=not local) as parquet:
            yield parquet
    except _FAILURES as error:
        raise _damage(file, error) from error


def _damage(file: SourceFile, error: Exception) -> DamagedError:
    """Arrow's error in our words. Raises StorageError where it is the disk's, which may do better next time."""
    reason = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno is not None:
        raise StorageError(
            f"{file.url}: reading failed: {reason}. Check the disk, and run the command again."
        ) from error
    return DamagedError(
        f"{file.name}: damaged, cut short or no Parquet file ({reason}). Replace {file.url}, or leave it out of "
        "the input; if it is another format, set corpus.format."
    )
