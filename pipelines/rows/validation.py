"""Raw rows become valid rows with known columns and types, or go to quarantine with the reason."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.formats.base import BYTE, LINE, PLACE_MARKS, RAW_COLUMNS, ROW
from pipelines.corpus.gaps import gaps_of, quarantined_gaps
from pipelines.planning.row_schema import RowSchema
from pipelines.rows.column_cast import cast_column
from pipelines.rows.column_fit import Bools, Fitted, fit
from pipelines.rows.ids import id_texts
from pipelines.rows.json_rows import JsonRows, parse_lines
from pipelines.rows.misfits import Outcome
from pipelines.rows.plain_arrays import plain_column
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

    misfits: Mapping[tuple[str, str], Bools]
    """By column of the input and `misfits.Outcome`: [N] in which of `rows` a value is not written as it is."""


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
        table = pa.table({name: plain_column(table[name]) for name in table.column_names})
        source = _TableRows(table, faults)

    misfits: dict[tuple[str, str], Bools] = {}
    ids, refused = source.ids(row_schema.columns.id)
    misfits[row_schema.columns.id, Outcome.DEFAULT_ID] = refused
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
            fitted = source.carried(field)
            columns[field.name] = pa.chunked_array([fitted.array], field.type)
            misfits[field.name, Outcome.NULL] = fitted.lost
            misfits[field.name, Outcome.NO_NUMBER] = source.no_numbers(field.name)
            if field.name not in row_schema.mixed:
                misfits[field.name, Outcome.TEXT] = fitted.spelled

    rows = pa.table(columns)
    quarantine = quarantine_rows(table, ids, places, file_name, faults.by_row)
    if gaps:
        lost = quarantined_gaps(gaps, file_name, Reason.UNREADABLE, DETAIL_CHARACTERS)
        quarantine = pa.concat_tables([quarantine, lost]).sort_by("place")
    if faults.by_row:
        good = np.ones(len(rows), dtype=bool)
        good[list(faults.by_row)] = False
        rows, places = rows.filter(pa.array(good)), places.filter(pa.array(good))
        misfits = {key: flags[good] for key, flags in misfits.items()}
    found = {key: flags for key, flags in misfits.items() if flags.any()}
    return ValidShard(rows.combine_chunks(), places, quarantine, found)


@dataclass(frozen=True)
class _TableRows:
    """A table of typed values as a source of columns, all of plain types (`plain_arrays`)."""

    table: pa.Table
    faults: Faults

    def ids(self, name: str) -> tuple[pa.ChunkedArray, Bools]:
        """Ids as text, null where there is none, and [N] which values are no ids (`rows.ids`)."""
        texts, refused = id_texts(_one_array(self._readable(name)))
        return pa.chunked_array([texts]), refused

    def texts(self, name: str) -> pa.ChunkedArray:
        """Columns that the plan knows to be text."""
        return self._readable(name).cast(pa.string())

    def carried(self, field: pa.Field) -> Fitted:
        """The values that fit the field's type, and which do not."""
        return fit(_one_array(self._readable(field.name)), field.type)

    def no_numbers(self, name: str) -> Bools:
        """None: typed columns hold NaN as what it is."""
        return np.zeros(len(self.table), bool)

    def _readable(self, name: str) -> pa.ChunkedArray:
        column, errors = cast_column(self.table[name], _checked, self.table[name].type)
        self.faults.add(errors, Reason.INVALID_UTF8, f"{name!r} is not UTF-8")
        return column


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


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
