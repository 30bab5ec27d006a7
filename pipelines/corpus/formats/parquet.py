"""Parquet: footers for the plan, and row groups as a stream of small tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.gaps import Gap
from pipelines.corpus.listing import SourceFile
from pipelines.errors import DamagedError, StorageError
from pipelines.storage.filesystem import is_local, resolve
from pipelines.storage.range_reader import RangeFile
from pipelines.storage.retry import attempt

_FAILURES = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, OSError)
"""What Arrow says of damaged bytes."""


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


def _numbered(batch: pa.RecordBatch | None, needed: Sequence[str], first_row: int, rows: int) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    if batch is not None:
        for name in needed:
            columns[name] = batch.column(name) if name in batch.schema.names else pa.nulls(rows)
    columns["_row"] = pa.array(np.arange(first_row, first_row + rows, dtype=np.int64))
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
