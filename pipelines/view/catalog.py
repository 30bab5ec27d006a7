"""All that is looked at: one output or two, in one DuckDB database of a temporary folder."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa

from actors.errors import first_line
from pipelines.errors import ConfigError, StorageError
from pipelines.output.parts import ShardId
from pipelines.rows.quarantine import ROW_CHARACTERS
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.view.columns import PartColumns
from pipelines.view.comparison import Comparison, compare, is_comparable, vector_width
from pipelines.view.job_output import JobOutput
from pipelines.view.passages import PassageReader
from pipelines.view.row_tables import (
    InPlaceTable,
    RowTable,
    has_virtual_names,
    literal,
    load,
    part_reader,
    read_columns,
)

Say = Callable[[str], None]
"""Is told how far the opening is, when it takes long."""

_AGAIN_SECONDS = 3.0
"""A job that runs is listed no more often than this."""
_SAY_EVERY_SECONDS = 2.0
_QUARANTINE = replace(PartColumns.of(QUARANTINE_SCHEMA, frozenset(QUARANTINE_SCHEMA.names)), characters=ROW_CHARACTERS)
_SETTINGS = {
    # Nothing that a query says makes DuckDB load anything from elsewhere.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": "2GB",
}


@dataclass
class OpenOutput:
    """One output with its rows and its quarantine as relations of DuckDB."""

    output: JobOutput
    rows: RowTable
    quarantine: RowTable
    passages: PassageReader
    is_complete: bool = False
    listed: float = 0.0
    """When the folder was last listed, seconds of `time.monotonic`."""


@dataclass
class Catalog:
    """What one or two outputs hold, to be asked from several threads."""

    database: duckdb.DuckDBPyConnection
    with_vectors: bool = False
    """Whether two outputs are compared by their embeddings; else by their answers."""
    outputs: list[OpenOutput] = field(default_factory=list)
    comparison: Comparison | None = None
    _compared: tuple[int, ...] = ()
    _needed: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    """Names of the relations that are shown now, and that were before: a request may have begun with those."""
    _refreshing: threading.Lock = field(default_factory=threading.Lock)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """For the queries of one request."""
        return self.database.cursor()

    def refresh(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Takes in what jobs that are not complete have committed since, unless that was looked at just now.

        Returns at once where another thread is at it, which may take long.

        Args:
            cursor: compares both outputs, so that who interrupts it breaks that off.

        Raises:
            StorageError: an output cannot be read.
            duckdb.Error: it cannot be compared, or that was broken off; the comparison is then the one before.
        """
        if not self._refreshing.acquire(blocking=False):
            return
        try:
            for number, opened in enumerate(self.outputs):
                if not opened.is_complete and time.monotonic() - opened.listed >= _AGAIN_SECONDS:
                    self.outputs[number] = _listed(self.database, opened.output, number, opened, self.with_vectors)
            self._compare(cursor)
            self._drop_old(cursor)
        finally:
            self._refreshing.release()

    def _compare(self, cursor: duckdb.DuckDBPyConnection) -> None:
        sizes = tuple(len(opened.rows.shards) for opened in self.outputs)
        if len(sizes) == 2 and all(sizes) and sizes != self._compared:
            first, second = (opened.rows for opened in self.outputs)
            if is_comparable(cursor, first, second, self.with_vectors):
                # Under a name of its own: until it is there, requests read the pairs before with their tables.
                name = f"pairs_{sizes[0]}_{sizes[1]}"
                self.comparison = compare(cursor, name, first, second, self.with_vectors)
            self._compared = sizes

    def _drop_old(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Drops relations that neither what is shown now is read from, nor what was shown before."""
        now = {table.name for opened in self.outputs for table in (opened.rows, opened.quarantine)}
        if self.comparison is not None:
            now |= {self.comparison.name, *(table.name for table in self.comparison.tables)}
        if now == self._needed[0]:
            return
        self._needed = frozenset(now), self._needed[0]
        for kind, names in (("view", _VIEWS), ("table", _TABLES)):
            for (name,) in cursor.execute(names).fetchall():
                if not any(name in needed for needed in self._needed):
                    cursor.execute(f"DROP {kind} {name}")


_VIEWS = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
_TABLES = "SELECT table_name FROM duckdb_tables() WHERE NOT internal"


@contextmanager
def open_catalog(outputs: Sequence[JobOutput], say: Say) -> Iterator[Catalog]:
    """Opens outputs, the second of which is compared with the first; what is read into tables is gone at the end.

    Raises:
        ConfigError: two outputs have nothing that can be compared.
        StorageError: an output cannot be read.
    """
    folder = Path(tempfile.mkdtemp(prefix="spanmill-view-"))
    database = duckdb.connect(str(folder / "rows.duckdb"), config={**_SETTINGS, "temp_directory": str(folder)})
    try:
        _confine(database, [one.store.root for one in outputs if one.in_place])
        try:
            catalog = _opened(database, outputs, say)
        except duckdb.Error as error:
            shown = " and ".join(str(output.store.url) for output in outputs)
            raise StorageError(f"{shown}: DuckDB cannot read the parts: {first_line(error)}") from error
        yield catalog
    finally:
        database.close()
        shutil.rmtree(folder, ignore_errors=True)


def _opened(database: duckdb.DuckDBPyConnection, outputs: Sequence[JobOutput], say: Say) -> Catalog:
    with_vectors = len(outputs) > 1 and not all(map(_has_answers, outputs))
    catalog = Catalog(database, with_vectors)
    for number, output in enumerate(outputs):
        catalog.outputs.append(_listed(database, output, number, None, with_vectors, _Saying(output, say)))
    with database.cursor() as cursor:
        if len(outputs) > 1:
            say("comparing both outputs row by row ...")
            catalog._compare(cursor)
            _check_compared(catalog)
        catalog._drop_old(cursor)
    return catalog


def _confine(database: duckdb.DuckDBPyConnection, folders: Sequence[str]) -> None:
    """Lets no query read or write any other file than those of the outputs, whatever it says."""
    listed = ", ".join(literal(f"{folder}/") for folder in folders)
    database.execute(f"SET allowed_directories = [{listed}]")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


def _listed(
    database: duckdb.DuckDBPyConnection,
    output: JobOutput,
    number: int,
    before: OpenOutput | None,
    with_vectors: bool,
    progress: Callable[[int, int], None] = lambda done, all: None,
) -> OpenOutput:
    """The output as its folder is now; of an output that was opened before, only what is new is read."""
    now = time.monotonic()
    # Before the parts: what is complete then has them all.
    is_complete = output.is_complete()
    shards = output.shards()
    # Without a part there were no columns yet.
    known = before.rows if before is not None and before.rows.shards else None
    if known is None:
        columns = read_columns(output, shards)
        if with_vectors and vector_width(columns.schema) is not None:
            columns = replace(columns, vectors="embedding")
    else:
        columns = known.columns
    rows = _table(database, f"rows_{number}", columns, shards, output, known, progress)
    bad_before = None if before is None else before.quarantine
    bad = _quarantine_table(database, f"quarantine_{number}", output, bad_before)
    passages = PassageReader(output) if before is None else before.passages
    return OpenOutput(output, rows, bad, passages, is_complete, now)


def _table(
    database: duckdb.DuckDBPyConnection,
    name: str,
    columns: PartColumns,
    shards: Sequence[ShardId],
    output: JobOutput,
    before: RowTable | None,
    progress: Callable[[int, int], None],
) -> RowTable:
    with database.cursor() as cursor:
        if output.in_place and not has_virtual_names(columns):
            return _in_place(cursor, name, columns, shards, [output.parts.path(shard) for shard in shards], before)
        read = part_reader(output, columns)
        return load(cursor, before or RowTable(name, columns), shards, read, progress)


def _quarantine_table(
    database: duckdb.DuckDBPyConnection, name: str, output: JobOutput, before: RowTable | None
) -> RowTable:
    shards = output.quarantine()

    def read(shard: ShardId) -> pa.Table:
        table = output.part_file(output.parts.quarantine_name(shard)).read()
        return table.rename_columns([f"c{number}" for number in range(table.num_columns)])

    with database.cursor() as cursor:
        if output.in_place:
            paths = [output.store.path(output.parts.quarantine_name(shard)) for shard in shards]
            return _in_place(cursor, name, _QUARANTINE, shards, paths, before)
        return load(cursor, before or RowTable(name, _QUARANTINE), shards, read, _quiet)


def _quiet(done: int, all: int) -> None:
    pass


def _in_place(
    cursor: duckdb.DuckDBPyConnection,
    name: str,
    columns: PartColumns,
    shards: Sequence[ShardId],
    paths: Sequence[str],
    before: RowTable | None,
) -> RowTable:
    if before is not None and before.shards == tuple(shards):
        return before
    # A name of its own: whoever asks the old view just now knows its parts by the old numbers.
    table = InPlaceTable(f"{name}_{len(shards)}", columns, tuple(shards), paths=tuple(paths))
    if shards:
        table.create(cursor)
    return table


def _has_answers(output: JobOutput) -> bool:
    """Whether its rows can be compared by their answers."""
    shards = output.shards()
    return read_columns(output, shards).index("answer") is not None if shards else output.manifest.kind == "answer"


def _check_compared(catalog: Catalog) -> None:
    """Raises ConfigError where both outputs have rows that have nothing in common."""
    if catalog.comparison is None and all(opened.rows.shards for opened in catalog.outputs):
        shown = " and ".join(str(opened.output.store.url) for opened in catalog.outputs)
        raise ConfigError(
            f"{shown} cannot be compared: both need answers, or both embeddings of one width in float32 or float16"
        )


@dataclass
class _Saying:
    """Says every now and then how many parts are read."""

    output: JobOutput
    say: Say
    _said: float = field(default_factory=time.monotonic)

    def __call__(self, done: int, all: int) -> None:
        if time.monotonic() - self._said >= _SAY_EVERY_SECONDS:
            self._said = time.monotonic()
            self.say(f"reading {self.output.store.url}: {done:,} of {all:,} parts ...")
