"""Raw rows become valid rows with known columns and types, or go to quarantine with the reason."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.formats.base import BYTE, LINE, PLACE_MARKS, RAW_COLUMNS, ROW
from pipelines.corpus.gaps import gaps_of, quarantined_gaps
from pipelines.planning.row_schema import RowSchema
from pipelines.rows.column_cast import cast_column
from pipelines.rows.json_rows import JsonRows, parse_lines
from pipelines.rows.quarantine import DETAIL_CHARACTERS, Faults, Reason, quarantine_rows
from pipelines.rows.shard_reader import RawShard


@dataclass(frozen=True)
class ValidShard:
    """A shard after validation: every raw row is in exactly one of the two tables, in its old order."""

    rows: pa.Table
    """id, then question and context (or text), all string without nulls, then the carried columns."""

    places: pa.ChunkedArray
    """int64: row or byte of every row of `rows` in its file; a later stage quarantines with it."""

    quarantine: pa.Table
    """QUARANTINE_SCHEMA."""


def validate(raw: RawShard, file_name: str, row_schema: RowSchema) -> ValidShard:
    """Checks every row, and gives it an id if it has none: `name:row` or `name@byte`, as the
    place column of the raw rows is ROW or BYTE.

    What the shard lost to a damage of its file is in quarantine too, one row for every gap.
    """
    table, faults, gaps = raw.table, Faults(), gaps_of(raw.table)
    source: JsonRows | _TableRows
    place = ROW if ROW in table.column_names else BYTE
    places, prefix = table[place], f"{file_name}{PLACE_MARKS[place]}"
    if LINE in table.column_names:
        source = parse_lines(table[LINE].to_pylist(), faults, row_schema.max_line_bytes)
        source.fill(table.select([name for name in table.column_names if name not in RAW_COLUMNS]))
    else:
        table = pa.table({name: _plain(table[name]) for name in table.column_names})
        source = _TableRows(table, faults)

    ids = source.ids(row_schema.columns.id)
    # A row that could not be read this far may well have an id, so it is not given another.
    ids = _with_default_ids(ids, prefix, places, except_rows=faults.by_row.keys())
    columns = {"id": ids}
    for role, name in row_schema.roles.items():
        text = columns[role] = source.texts(name)
        faults.add(_rows_where(pc.is_null(text)), Reason(f"null_{role}"), f"{name!r} is null or missing")
        lengths = pc.binary_length(text)
        is_blank = pc.or_(pc.equal(lengths, 0), pc.utf8_is_space(text))
        faults.add(_rows_where(is_blank), Reason(f"empty_{role}"), f"{name!r} is blank")
        too_long = (
            f"{name!r} is longer than {row_schema.max_text_bytes:,} bytes; raise corpus.max_text_bytes to keep it"
        )
        faults.add(_rows_where(pc.greater(lengths, row_schema.max_text_bytes)), Reason.TEXT_TOO_LONG, too_long)
    for field in row_schema.carry:
        if field.name not in columns:
            columns[field.name] = source.carried(field)

    rows = pa.table(columns)
    quarantine = quarantine_rows(table, ids, places, file_name, faults.by_row)
    if gaps:
        lost = quarantined_gaps(gaps, file_name, Reason.UNREADABLE, DETAIL_CHARACTERS)
        quarantine = pa.concat_tables([quarantine, lost]).sort_by("place")
    if faults.by_row:
        good = np.ones(len(rows), dtype=bool)
        good[list(faults.by_row)] = False
        rows, places = rows.filter(pa.array(good)), places.filter(pa.array(good))
    return ValidShard(rows.combine_chunks(), places, quarantine)


@dataclass(frozen=True)
class _TableRows:
    """A table of typed values as a source of columns, dictionaries and views resolved."""

    table: pa.Table
    faults: Faults

    def ids(self, name: str) -> pa.ChunkedArray:
        return self._column(name, pa.string())

    def texts(self, name: str) -> pa.ChunkedArray:
        return self._column(name, pa.string())

    def carried(self, field: pa.Field) -> pa.ChunkedArray:
        return self._column(field.name, field.type)

    def _column(self, name: str, type: pa.DataType) -> pa.ChunkedArray:
        column, errors = cast_column(self.table[name], _checked, self.table[name].type)
        self.faults.add(errors, Reason.INVALID_UTF8, f"{name!r} is not UTF-8")
        if column.type != type:
            column, errors = cast_column(column, lambda values: values.cast(type), type)
            self.faults.add_each(errors, Reason.WRONG_TYPE, name)
        return column


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionaries and views, for which Arrow lacks kernels; a view's own cast would stop at bad UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type == pa.string_view():
        chunks = [chunk.cast(pa.binary_view()).cast(pa.binary()).view(pa.string()) for chunk in column.chunks]
        return pa.chunked_array(chunks, pa.string())
    return column


def _checked(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as they are. Raises ArrowInvalid for bytes that are not UTF-8, which Parquet's reader lets in."""
    # Nested values are copied first, since a slice would be judged by all of its parent's children.
    copied = values.take(pa.array(np.arange(len(values)))) if pa.types.is_nested(values.type) else values
    copied.validate(full=True)
    return values


def _with_default_ids(
    ids: pa.ChunkedArray, prefix: str, places: pa.ChunkedArray, except_rows: Collection[int]
) -> pa.ChunkedArray:
    if ids.null_count == 0:
        return ids
    defaults = pc.binary_join_element_wise(pa.scalar(prefix), places.cast(pa.string()), "")
    allowed = np.ones(len(ids), dtype=bool)
    allowed[list(except_rows)] = False
    return pc.coalesce(ids, pc.if_else(pa.array(allowed), defaults, pa.scalar(None, pa.string())))


def _rows_where(mask: pa.ChunkedArray) -> list[int]:
    rows: list[int] = np.flatnonzero(mask.fill_null(False).to_numpy()).tolist()
    return rows
