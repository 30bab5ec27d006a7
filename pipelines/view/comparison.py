"""Two outputs row by row: joined by id once, into a table of DuckDB that is then paged, sorted and searched."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import duckdb
import pyarrow as pa

from pipelines.view.row_query import QueryError, contains
from pipelines.view.row_tables import RowKey, RowTable
from pipelines.view.rows import ListedRow, list_rows, plain, run

Agreement = Literal["equal", "place", "different", "only_first", "only_second"]
"""equal: the same answer at the same place, or none in both; in embedding jobs, a similarity of `SIMILAR` at least.
place: the same text at another place. only_first, only_second: the other output has no row of this id."""

VECTOR = "vector"
"""Column of both tables with the embeddings, where these are what is compared."""
SIMILAR = 0.999

_ORDERS: dict[str, str] = {
    "": "coalesce(first_part, second_part), coalesce(first_row, second_row)",
    "difference": "difference",
    "first": "first_score",
    "second": "second_score",
    "id": "id",
}
_NUMBERED = """
SELECT v{id} AS id, row_number() OVER (PARTITION BY v{id} ORDER BY part, row) AS nth, part, row, {fields} FROM {table}
"""
_JOINED = """
CREATE OR REPLACE TABLE {name} AS
SELECT coalesce(first.id, second.id) AS id,
    first.part AS first_part, first.row AS first_row, first.answer AS first_answer, first.score AS first_score,
    second.part AS second_part, second.row AS second_row, second.answer AS second_answer, second.score AS second_score,
    {agreement} AS agreement, {difference} AS difference
FROM ({first}) AS first FULL OUTER JOIN ({second}) AS second ON first.id = second.id AND first.nth = second.nth
"""
_ONE_SIDED = """
CASE WHEN second.part IS NULL THEN 'only_first' WHEN first.part IS NULL THEN 'only_second' {both} END
"""
_ANSWERS_AGREE = """
WHEN first.answer IS DISTINCT FROM second.answer THEN 'different'
WHEN first.start IS DISTINCT FROM second.start THEN 'place' ELSE 'equal'
"""


@dataclass(frozen=True)
class Comparison:
    """How two outputs agree, and by what they were compared."""

    name: str
    """Of the relation of pairs."""
    tables: tuple[RowTable, RowTable]
    """What was joined: the pairs hold places in these, which are not those of a table with more shards."""
    by: Literal["answers", "embeddings"]
    counts: dict[str, int]
    """Rows by `Agreement`."""
    mean_difference: float | None
    """Of the scores, or of 1 and the cosine similarity, over rows that both have; None where there are none."""

    @property
    def in_both(self) -> int:
        """Rows that both outputs have."""
        return sum(self.counts[name] for name in ("equal", "place", "different"))

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        agreement = self.counts["equal"] / self.in_both if self.in_both else None
        return {
            "by": self.by,
            "counts": self.counts,
            "in_both": self.in_both,
            "agreement": agreement,
            "mean_difference": self.mean_difference,
        }


@dataclass(frozen=True)
class PairQuery:
    """Pairs that are wanted, and their order."""

    search: str = ""
    """In the id or in one of the answers."""
    agreement: str = ""
    """One of `Agreement`; empty for all."""
    sort: str = ""
    """difference, first or second (the scores), or id; empty for the order of the corpus."""
    descending: bool = False

    def where(self) -> tuple[str, list[object]]:
        """As SQL with its parameters. Raises QueryError where there is no such agreement."""
        terms, values = ["true"], list[object]()
        if self.agreement:
            if self.agreement not in get_args(Agreement):
                raise QueryError(f"rows agree as {', '.join(get_args(Agreement))}; {self.agreement!r} is none of these")
            terms.append("agreement = ?")
            values.append(self.agreement)
        if self.search:
            names = ("id", "first_answer", "second_answer")
            terms.append(f"({' OR '.join(map(contains, names))})")
            values += [self.search] * len(names)
        return " AND ".join(terms), values

    def order(self) -> str:
        """As SQL. Raises QueryError where there is no such order."""
        if self.sort not in _ORDERS:
            raise QueryError(f"pairs are sorted by difference, first, second or id; {self.sort!r} is none of these")
        last = _ORDERS[""]
        if not self.sort:
            return last
        return f"{_ORDERS[self.sort]} {'DESC' if self.descending else 'ASC'} NULLS LAST, {last}"


@dataclass(frozen=True)
class Pair:
    """A row of both outputs, or of one."""

    id: str
    agreement: str
    difference: float | None
    first: ListedRow | None
    second: ListedRow | None

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        sides = (side and side.to_json() for side in (self.first, self.second))
        return {
            "id": self.id,
            "agreement": self.agreement,
            "difference": plain(self.difference),
            **dict(zip(("first", "second"), sides, strict=True)),
        }


def compare(
    cursor: duckdb.DuckDBPyConnection, name: str, first: RowTable, second: RowTable, vectors: bool
) -> Comparison:
    """Joins two outputs by id into a table of pairs; of rows with one id the n-th of both belong together.

    Args:
        name: of the table of pairs; one that nobody reads.
        vectors: whether both tables have the column VECTOR, which is compared; else the answers are.

    Raises:
        duckdb.Error: a part cannot be read, or the query was broken off.
    """
    joined = _JOINED.format(
        name=name,
        first=_numbered(first, vectors),
        second=_numbered(second, vectors),
        agreement=_ONE_SIDED.format(both=_SIMILAR if vectors else _ANSWERS_AGREE),
        difference=_DISTANCE if vectors else "abs(first.score - second.score)",
    )
    cursor.execute(joined)
    found = dict(cursor.execute(f"SELECT agreement, count(*) FROM {name} GROUP BY agreement").fetchall())
    [(mean,)] = cursor.execute(f"SELECT avg(difference) FROM {name}").fetchall()
    counts = {name: int(found.get(name, 0)) for name in get_args(Agreement)}
    return Comparison(name, (first, second), "embeddings" if vectors else "answers", counts, plain(mean))


# Of two lengths there is no cosine, and DuckDB would end the whole query.
_DISTANCE = (
    "CASE WHEN len(first.vector) = len(second.vector) THEN 1 - list_cosine_similarity(first.vector, second.vector) END"
)
_SIMILAR = f"WHEN ({_DISTANCE}) <= {1 - SIMILAR:g} THEN 'equal' ELSE 'different'"


def count_pairs(cursor: duckdb.DuckDBPyConnection, comparison: Comparison, query: PairQuery) -> int:
    """Pairs that the query finds. Raises QueryError."""
    where, values = query.where()
    [(count,)] = run(cursor, f"SELECT count(*) FROM {comparison.name} WHERE {where}", values)
    return int(count)


def list_pairs(
    cursor: duckdb.DuckDBPyConnection, comparison: Comparison, query: PairQuery, offset: int, limit: int
) -> list[Pair]:
    """A page of pairs, with what the list shows of the rows of both outputs. Raises QueryError."""
    where, values = query.where()
    sql = (
        "SELECT id, agreement, difference, first_part, first_row, second_part, second_row "
        f"FROM {comparison.name} WHERE {where} ORDER BY {query.order()} LIMIT ? OFFSET ?"
    )
    found = run(cursor, sql, [*values, limit, offset])
    firsts = _listed(cursor, comparison.tables[0], [(part, row) for *_, part, row, _, _ in found])
    seconds = _listed(cursor, comparison.tables[1], [(part, row) for *_, part, row in found])
    return [
        Pair(id, agreement, difference, *sides)
        for (id, agreement, difference, *_), *sides in zip(found, firsts, seconds, strict=True)
    ]


def _listed(
    cursor: duckdb.DuckDBPyConnection, table: RowTable, keys: Sequence[tuple[int | None, int | None]]
) -> list[ListedRow | None]:
    present = [(part, row) for part, row in keys if part is not None and row is not None]
    rows: dict[RowKey, ListedRow] = {row.key: row for row in list_rows(cursor, table, present)}
    return [None if part is None or row is None else rows.get(table.key(part, row)) for part, row in keys]


def is_comparable(cursor: duckdb.DuckDBPyConnection, first: RowTable, second: RowTable, vectors: bool) -> bool:
    """Whether both have answers or, where vectors are wanted, embeddings of one width."""
    if not vectors:
        return all(table.columns.index("answer") is not None for table in (first, second))
    widths = {_width(cursor, table) for table in (first, second)}
    return None not in widths and len(widths - {0}) <= 1


def _width(cursor: duckdb.DuckDBPyConnection, table: RowTable) -> int | None:
    """As `vector_width`; where the type does not tell it, that of the first embedding."""
    width = vector_width(table.columns.schema)
    if width != 0:
        return width
    found = cursor.execute(f"SELECT len({VECTOR}) FROM {table.name} WHERE {VECTOR} IS NOT NULL LIMIT 1").fetchone()
    return 0 if found is None else int(found[0])


def vector_width(schema: pa.Schema) -> int | None:
    """Numbers of an embedding that can be compared, 0 where its type does not tell; None where there is none."""
    if "embedding" not in schema.names:
        return None
    type = schema.field("embedding").type
    if not pa.types.is_nested(type) or type.num_fields != 1 or not pa.types.is_floating(type.field(0).type):
        return None
    return int(type.list_size) if pa.types.is_fixed_size_list(type) else 0


def _numbered(table: RowTable, vectors: bool) -> str:
    columns = table.columns
    if vectors:
        fields = f"{VECTOR} AS vector, CAST(NULL AS VARCHAR) AS answer, CAST(NULL AS DOUBLE) AS score, 0 AS start"
    else:
        fields = ", ".join(f"v{columns.index(name)} AS {name}" for name in ("answer", "score", "start"))
    return _NUMBERED.format(id=columns.index("id"), fields=fields, table=table.name)
