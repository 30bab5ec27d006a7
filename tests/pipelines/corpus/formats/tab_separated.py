"""An input format that Spanmill has not: text in columns with tabs between them, a header first."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
from pyarrow import csv

from pipelines.corpus.formats.base import ROW, Division, FirstLook, LookOptions, ReadOptions, Span
from pipelines.corpus.gaps import Gap
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import DamagedError
from pipelines.storage.filesystem import resolve

_BLOCK_BYTES = 1000


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
            with _opened(file, (), options.storage) as reader:
                names, block = reader.schema.names, next(iter(reader), None)
        except DamagedError:
            if not options.keep_on:
                raise
            return FirstLook((), None, (span,), 0, file.size, is_telling=False, is_lost=True)
        row_bytes = block.nbytes / len(block) if block else file.size
        schema = pa.schema([(name, pa.string()) for name in names])
        return FirstLook(tuple(names), schema, (span,), round(file.size / row_bytes), file.size)

    def read(self, file: SourceFile, span: Span, options: ReadOptions) -> Iterator[pa.Table | Gap]:
        """Blocks of rows with their numbers."""
        done = 0
        try:
            with _opened(file, options.needed, options.storage) as reader:
                for batch in reader:
                    numbers = pa.array(range(done, done + len(batch)), pa.int64())
                    yield pa.Table.from_batches([batch]).append_column(ROW, numbers)
                    done += len(batch)
        except DamagedError as error:
            if not options.keep_on:
                raise
            yield Gap(done, 0, str(error))

    def empty(self, needed: Sequence[str]) -> pa.Table:
        """The columns without rows."""
        return pa.schema([*((name, pa.string()) for name in needed), (ROW, pa.int64())]).empty_table()


TSV = TabSeparated()


@contextmanager
def _opened(file: SourceFile, needed: Sequence[str], storage: Mapping[str, object]) -> Iterator[csv.CSVStreamingReader]:
    store = resolve(file.url, storage)
    try:
        with store.fs.open(store.root, compression=file.compression) as stream:
            yield csv.open_csv(
                stream,
                csv.ReadOptions(block_size=_BLOCK_BYTES),
                csv.ParseOptions(delimiter="\t", quote_char=False),
                csv.ConvertOptions(
                    column_types=dict.fromkeys(needed, pa.string()),
                    include_columns=list(needed),
                    include_missing_columns=True,
                ),
            )
    except (pa.ArrowInvalid, EOFError, zlib.error) as error:
        raise DamagedError(f"{file.name}: damaged ({error}). Replace {file.url}.") from error
