"""Pages of rows: which rows are on a page, what the list shows of them, and how many there are."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import duckdb

from pipelines.view.columns import ViewColumn
from pipelines.view.row_query import QueryError, RowQuery
from pipelines.view.row_tables import RowKey, RowTable

MOST_ROWS = 500
"""Of a page."""
_MOST_VALUES = 40
# (?s): the surroundings may go over lines.
_SURROUNDINGS = "regexp_extract({name}, '(?s).{{0,50}}' || regexp_escape($search) || '.{{0,70}}', 0, 'i')"
_EXACT = 1 << 53
"""Whole numbers from here on are no longer exact in JavaScript."""


@dataclass(frozen=True)
class ListedRow:
    """A row of the list."""

    key: RowKey
    values: tuple[Any, ...]
    """By the columns of the list; texts are cut, and longer ones end with an ellipsis."""
    found: Mapping[str, str] = field(default_factory=dict)
    """Where a search was: the surroundings of what was looked for, by the names of the columns that hold it."""

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return {"key": str(self.key), "values": self.values, "found": self.found}


def find_keys(
    cursor: duckdb.DuckDBPyConnection, table: RowTable, query: RowQuery, offset: int, limit: int
) -> list[tuple[int, int]]:
    """Part and row of the rows of a page, in order. It reads no column but those that the query is about.

    Raises:
        QueryError: the query does not fit the columns.
    """
    if not table.shards:
        return []
    if query.is_everything:
        return _by_counts(row_counts(cursor, table), offset, limit)
    where, values = query.where(table.columns)
    order = query.order(table.columns)
    sql = f"SELECT part, row FROM {table.name} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"
    return [(part, row) for part, row in run(cursor, sql, [*values, limit, offset])]


def count_rows(cursor: duckdb.DuckDBPyConnection, table: RowTable, query: RowQuery) -> int:
    """Rows that the query finds. Raises QueryError."""
    if not table.shards:
        return 0
    where, values = query.where(table.columns)
    [(count,)] = run(cursor, f"SELECT count(*) FROM {table.name} WHERE {where}", values)
    return int(count)


def list_rows(
    cursor: duckdb.DuckDBPyConnection, table: RowTable, keys: Sequence[tuple[int, int]], search: str = ""
) -> list[ListedRow]:
    """What the list shows of these rows, in their order, and where in them the searched text is."""
    if not keys:
        return []
    listed, most = table.columns.listed, table.columns.characters
    searched = [number for number, column in enumerate(listed) if column.searched and search]
    columns = [_short(number, column, most) for number, column in enumerate(listed)]
    columns += [_SURROUNDINGS.format(name=f"s{number}") for number in searched]
    sql = table.fetched(keys, ", ".join(columns))
    rows = {(part, row): values for part, row, *values in run(cursor, sql, {"search": search} if searched else [])}

    def made(key: tuple[int, int]) -> ListedRow:
        values, texts = rows[key][: len(listed)], rows[key][len(listed) :]
        found = {listed[number].name: text for number, text in zip(searched, texts, strict=True) if text}
        return ListedRow(table.key(*key), tuple(map(plain, values)), found)

    return [made(key) for key in keys if key in rows]


def frequent_values(cursor: duckdb.DuckDBPyConnection, table: RowTable, name: str) -> list[tuple[Any, int]]:
    """The most frequent values of a column, and in how many rows each is. Raises QueryError."""
    number = table.columns.index(name)
    if number is None:
        raise QueryError(f"there is no column {name!r}")
    if not table.shards:
        return []
    shown = _short(number, table.columns.listed[number], table.columns.characters)
    sql = f"SELECT {shown} AS value, count(*) FROM {table.name} GROUP BY value ORDER BY 2 DESC, 1 LIMIT {_MOST_VALUES}"
    return [(plain(value), count) for value, count in run(cursor, sql, [])]


def row_counts(cursor: duckdb.DuckDBPyConnection, table: RowTable) -> Mapping[int, int]:
    """Rows of every part that has some, in order; known after the first call for as long as the table is the same."""
    if table.counted is None:
        counts = run(cursor, f"SELECT part, count(*) FROM {table.name} GROUP BY part ORDER BY part", [])
        table.counted = dict(counts)
    return table.counted


def run(
    cursor: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object] | Mapping[str, object]
) -> list[tuple[Any, ...]]:
    """The rows of a query.

    Raises:
        QueryError: a value cannot be compared with those of its column.
    """
    try:
        found: list[tuple[Any, ...]] = cursor.execute(sql, values).fetchall()
    except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException) as error:
        raise QueryError(str(error).partition("\n")[0]) from error
    return found


def plain(value: Any) -> Any:
    """A value as JSON can hold it, and JavaScript read it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < _EXACT else str(value)
    return str(value)


def _short(number: int, column: ViewColumn, most: int) -> str:
    name = f"v{number}"
    if column.kind in ("number", "boolean"):
        return name
    text = {"text": name, "bytes": f"to_base64({name})", "nested": f"s{number}"}.get(
        column.kind, f"CAST({name} AS VARCHAR)"
    )
    return f"CASE WHEN length({text}) > {most} THEN left({text}, {most}) || '…' ELSE {text} END"


def _by_counts(counts: Mapping[int, int], offset: int, limit: int) -> list[tuple[int, int]]:
    """Rows [offset, offset + limit) in the order of the corpus, without a query."""
    parts, ends = list(counts), list(accumulate(counts.values()))
    keys: list[tuple[int, int]] = []
    number = bisect_right(ends, offset)
    while number < len(parts) and len(keys) < limit:
        first = max(offset - (ends[number] - counts[parts[number]]), 0)
        stop = min(first + limit - len(keys), counts[parts[number]])
        keys += [(parts[number], row) for row in range(first, stop)]
        number += 1
    return keys
