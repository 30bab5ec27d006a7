"""What DuckDB queries of an output: the parts where they lie, or a table that they were read into.

Parquet parts on a disk are queried in place, so that opening millions of rows takes no time. All others, those of
object stores and of JSONL, are read once, without their heavy columns, into a DuckDB table in a temporary file.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import duckdb
import orjson
import pyarrow as pa

from pipelines.output.parts import ShardId
from pipelines.view.columns import ANSWERS, BEST_ANSWER, PartColumns
from pipelines.view.job_output import JobOutput

Progress = Callable[[int, int], None]
"""Is told how many of how many parts are read."""

_THREADS = 8
_KNOWN = {**BEST_ANSWER, ANSWERS: pa.list_(pa.struct(BEST_ANSWER.items())), "null_score": pa.float64()}
"""Types that the lines of JSONL parts do not tell."""


@dataclass(frozen=True)
class RowKey:
    """The place of a row in the output; the same for as long as the job is the same."""

    unit: int
    number: int
    row: int
    """From 0, within the part."""

    def __str__(self) -> str:
        return f"{self.unit}-{self.number}-{self.row}"


@dataclass
class RowTable:
    """Rows of parts as a relation of DuckDB, with the columns `part`, `row` and those of `PartColumns.selected`.

    `part` grows with the place of a shard in the plan, so that `ORDER BY part, row` is the order of the corpus.
    """

    name: str
    """Of the relation."""
    columns: PartColumns
    shards: tuple[ShardId, ...] = ()
    """Whose rows are in it."""
    counted: Mapping[int, int] | None = None
    """Rows by part, once somebody asked (`rows.row_counts`)."""

    def key(self, part: int, row: int) -> RowKey:
        """The place of a row by `part` and `row`."""
        return RowKey(part >> 32, part & 0xFFFFFFFF, row)

    def fetched(self, keys: Sequence[tuple[int, int]], columns: str) -> str:
        """SQL that gives part, row and the columns of these rows, in any order. The columns are SQL over `v0` ..."""
        places = ", ".join(f"({int(part)}, {int(row)})" for part, row in keys)
        # The bounds let DuckDB leave out what lies elsewhere in the table.
        parts = [int(part) for part, _ in keys]
        return (
            f"SELECT part, row, {columns} FROM {self.name} WHERE part BETWEEN {min(parts)} AND {max(parts)} "
            f"AND (part, row) IN (VALUES {places})"
        )


@dataclass
class InPlaceTable(RowTable):
    """Parquet parts on a disk, as a view of DuckDB."""

    paths: tuple[str, ...] = ()
    """Of the shards' parts."""

    def key(self, part: int, row: int) -> RowKey:
        """The place of a row by `part` and `row`."""
        return RowKey(self.shards[part].unit, self.shards[part].number, row)

    def fetched(self, keys: Sequence[tuple[int, int]], columns: str) -> str:
        """SQL that opens nothing but the files that these rows are in."""
        rows: dict[int, list[str]] = {}
        for part, row in keys:
            rows.setdefault(part, []).append(str(int(row)))
        return " UNION ALL ".join(
            f"SELECT {part} AS part, row, {columns} FROM ({self._scan([self.paths[part]])}) "
            f"WHERE row IN ({', '.join(numbers)})"
            for part, numbers in rows.items()
        )

    def create(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Makes the view."""
        cursor.execute(f"CREATE OR REPLACE VIEW {self.name} AS {self._scan(self.paths)}")

    def _scan(self, paths: Iterable[str]) -> str:
        files = ", ".join(literal(path) for path in paths)
        # By their places: the names of people's columns are no part of the SQL, and two may differ in case alone.
        names = ", ".join(f"c{number}" for number in range(len(self.columns.schema)))
        return (
            f"SELECT file_index AS part, file_row_number AS row, {self.columns.selected()} "
            # A folder above the output named as `score=2` is no column, and replaces none.
            f"FROM read_parquet([{files}], hive_partitioning = false) AS parts({names})"
        )


def literal(text: str) -> str:
    """A text as SQL: DuckDB's strings know no escapes but the doubled quote."""
    return "'" + text.replace("'", "''") + "'"


def code(shard: ShardId) -> int:
    """A number that grows with the place of a shard in the plan."""
    return shard.unit << 32 | shard.number


def read_columns(output: JobOutput, shards: Sequence[ShardId]) -> PartColumns:
    """The columns of the parts: those of the first one, since all have one schema.

    Raises:
        StorageError: the part cannot be read.
    """
    carried = output.plan.layout.carry
    if not shards:
        schema = pa.schema([])
    elif output.is_parquet:
        schema = output.part_file(output.parts.part_name(shards[0])).schema_arrow.remove_metadata()
    else:
        schema = _schema_of_lines(output, shards)
    return PartColumns.of(schema, frozenset(carried.names))


def has_virtual_names(columns: PartColumns) -> bool:
    """Whether a column has the name of one that DuckDB adds to those of a file."""
    return any(name.lower() in ("file_index", "file_row_number", "filename") for name in columns.schema.names)


def load(
    cursor: duckdb.DuckDBPyConnection,
    table: RowTable,
    shards: Sequence[ShardId],
    read: Callable[[ShardId], pa.Table],
    progress: Progress,
) -> RowTable:
    """The table with all these shards: those that it lacks are read into DuckDB, which has a table of its name once
    there is a first one.

    Args:
        read: gives the columns c0, c1 ... of a shard, as far as `table.columns.selected` speaks of them.

    Raises:
        StorageError: a part cannot be read.
    """
    known = list(table.shards)
    new = [shard for shard in shards if shard not in set(known)]
    _drop_unknown(cursor, table, new)
    with ThreadPoolExecutor(_THREADS) as threads:
        # Some at a time: read ahead of DuckDB without end, they would all be in memory at once.
        for begin in range(0, len(new), 2 * _THREADS):
            group = new[begin : begin + 2 * _THREADS]
            for shard, rows in zip(group, threads.map(read, group), strict=True):
                _insert(cursor, table, shard, rows, is_first=not known)
                known.append(shard)
            progress(len(known), len(shards))
    return replace(table, shards=tuple(known), counted=None) if new else table


def _drop_unknown(cursor: duckdb.DuckDBPyConnection, table: RowTable, new: Sequence[ShardId]) -> None:
    """Drops rows of shards that are to be read: where an earlier call failed half way, some are there already."""
    if not table.shards:
        cursor.execute(f"DROP TABLE IF EXISTS {table.name}")
    elif new:
        cursor.execute(f"DELETE FROM {table.name} WHERE part IN ({', '.join(str(code(shard)) for shard in new)})")


def _insert(cursor: duckdb.DuckDBPyConnection, table: RowTable, shard: ShardId, rows: pa.Table, is_first: bool) -> None:
    numbered = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))
    cursor.register("arriving", numbered)
    select = f"SELECT CAST({code(shard)} AS BIGINT) AS part, row, {table.columns.selected()} FROM arriving"
    try:
        cursor.execute(f"CREATE TABLE {table.name} AS {select}" if is_first else f"INSERT INTO {table.name} {select}")
    finally:
        cursor.unregister("arriving")


def part_reader(output: JobOutput, columns: PartColumns) -> Callable[[ShardId], pa.Table]:
    """What reads the listed columns of a part, as c0, c1 ... by their numbers in its schema."""
    numbers: Mapping[str, int] = {name: columns.schema.get_field_index(name) for name in columns.read}

    def read(shard: ShardId) -> pa.Table:
        name = output.parts.part_name(shard)
        if output.is_parquet:
            # A name with a dot would also name a field of a struct: only whole columns are taken.
            found = output.part_file(name).read(columns=columns.read)
            arrays = {f"c{number}": found[name] for name, number in numbers.items()}
        else:
            rows = [orjson.loads(line) for line in output.lines(name)]
            arrays = {
                f"c{number}": json_array([row.get(name) for row in rows], columns.schema.field(name).type)
                for name, number in numbers.items()
            }
        return pa.table(arrays)

    return read


def json_array(values: Sequence[object], type: pa.DataType) -> pa.Array:
    """Values of JSON as a column: those that are no text where text is wanted are written as JSON."""
    if pa.types.is_string(type):
        texts = (value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values)
        return pa.array(texts, type)
    return pa.array(values, type)


def _schema_of_lines(output: JobOutput, shards: Sequence[ShardId]) -> pa.Schema:
    """Columns of JSONL parts: their names stand in the lines, and the types in the plan."""
    carry, written = output.plan.layout.carry, output.manifest.output_schema
    first = next(_first_lines(output, shards), None)
    row = {} if first is None else orjson.loads(first)
    return pa.schema([(name, _type_in_lines(name, value, carry, written)) for name, value in row.items()])


def _first_lines(output: JobOutput, shards: Sequence[ShardId]) -> Iterator[bytes]:
    for shard in shards:
        yield from output.lines(output.parts.part_name(shard))[:1]


def _type_in_lines(name: str, value: object, carry: pa.Schema, written: str) -> pa.DataType:
    """The type of a column; of the nested ones that a job adds, which are not read, no more than that they are."""
    if name in carry.names:
        type = carry.field(name).type
        is_plain = pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_boolean(type)
        return type if is_plain else pa.string()
    if name in _KNOWN:
        return _KNOWN[name]
    if name == "embedding" and isinstance(value, list):
        return pa.list_(pa.float32())
    if re.search(rf"^{re.escape(name)}: (list|large_list|fixed_size_list|struct)<", written, re.MULTILINE):
        return pa.list_(pa.null())
    if isinstance(value, int | float):
        return pa.float64()
    return pa.string()
