"""An input format that Spanmill has not: text in columns with tabs between them, a header first."""

import csv
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa

from pipelines.corpus.formats.base import ROW, Division, FirstLook, LookOptions, ReadOptions, Span
from pipelines.corpus.gaps import Gap
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import DamagedError
from pipelines.storage.filesystem import resolve

_BLOCK_ROWS = 20


class TabSeparated:
    """Every value is text; a file is one read unit."""

    suffixes: tuple[str, ...] = (".tsv",)
    may_be_compressed: bool = True

    def division(self, file: SourceFile) -> Division:
        """Rows are numbered from the file's beginning."""
        return "whole"

    def look(self, file: SourceFile, options: LookOptions) -> FirstLook:
        """The header, and a guess of the rows from the first block."""
        span = Span(0, file.size, 0, None)
        try:
            with _opened(file, options.storage) as reader:
                names, block = next(reader, []), list(islice(reader, _BLOCK_ROWS))
        except DamagedError:
            if not options.keep_on:
                raise
            return FirstLook((), None, (span,), 0, file.size, is_telling=False, is_lost=True)
        row_bytes = sum(len(value) for row in block for value in row) / len(block) if block else file.size
        schema = pa.schema([(name, pa.string()) for name in names])
        return FirstLook(tuple(names), schema, (span,), round(file.size / row_bytes), file.size)

    def read(self, file: SourceFile, span: Span, options: ReadOptions) -> Iterator[pa.Table | Gap]:
        """Blocks of rows with their numbers."""
        done = 0
        try:
            with _opened(file, options.storage) as reader:
                names = next(reader, [])
                while rows := list(islice(reader, _BLOCK_ROWS)):
                    columns = {
                        name: [row[names.index(name)] for row in rows] for name in options.needed if name in names
                    }
                    numbers = range(done, done + len(rows))
                    texts = [pa.array(columns.get(name, [None] * len(rows)), pa.string()) for name in options.needed]
                    yield pa.table([*texts, pa.array(numbers, pa.int64())], [*options.needed, ROW])
                    done += len(rows)
        except DamagedError as error:
            if not options.keep_on:
                raise
            yield Gap(done, 0, str(error))

    def empty(self, needed: Sequence[str]) -> pa.Table:
        """The columns without rows."""
        return pa.schema([*((name, pa.string()) for name in needed), (ROW, pa.int64())]).empty_table()


TSV = TabSeparated()


@contextmanager
def _opened(file: SourceFile, storage: Mapping[str, object]) -> Iterator[Iterator[list[str]]]:
    # Not with Arrow's streaming reader, whose threads at times hang at the end of the process when a stream breaks off.
    store = resolve(file.url, storage)
    try:
        with store.fs.open(store.root, compression=file.compression) as stream:
            yield csv.reader(io.TextIOWrapper(stream, "utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE)
    except (ValueError, IndexError, EOFError, zlib.error) as error:
        raise DamagedError(f"{file.name}: damaged ({error}). Replace {file.url}.") from error
