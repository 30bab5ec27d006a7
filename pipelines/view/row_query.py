"""Which rows are wanted, and in which order; and that as SQL, in which no text of a user stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import orjson

from pipelines.view.columns import PartColumns, ViewColumn

How = Literal["is", "is_not", "contains", "at_least", "at_most", "is_null", "is_not_null"]
_WITHOUT_VALUE = ("is_null", "is_not_null")
_OPERATORS = {"is": "=", "is_not": "IS DISTINCT FROM", "at_least": ">=", "at_most": "<="}


class QueryError(Exception):
    """What is asked for cannot be asked of these rows; the message says why, and what can."""


@dataclass(frozen=True)
class Condition:
    """One condition on one column."""

    column: str
    how: How
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Of a JSON array: column, how, and the value as text.

        Raises:
            QueryError: it is nothing of the kind.
        """
        try:
            column, how, *value = orjson.loads(text)
        except (orjson.JSONDecodeError, ValueError, TypeError) as error:
            raise QueryError('a condition is a JSON array, as ["title", "is", "Harbour"]') from error
        if how not in get_args(How):
            raise QueryError(f"a condition is one of {', '.join(get_args(How))}; {how!r} is none")
        if len(value) != (how not in _WITHOUT_VALUE) or not all(isinstance(one, str) for one in (column, *value)):
            raise QueryError(f"{how} takes {'no value' if how in _WITHOUT_VALUE else 'one value, as text'}")
        return cls(column, how, *value)


@dataclass(frozen=True)
class RowQuery:
    """Rows that are wanted, and their order."""

    search: str = ""
    """Text that stands in a row, in whatever case; in the answer, in texts and in nested values."""
    conditions: tuple[Condition, ...] = ()
    """All of them hold."""
    sort: str = ""
    """Name of a column; empty for the order of the corpus."""
    descending: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether all rows are wanted, in the order of the corpus."""
        return not self.search and not self.conditions and not self.sort

    def where(self, columns: PartColumns) -> tuple[str, list[object]]:
        """The condition as SQL over a `RowTable`, and its parameters.

        Raises:
            QueryError: there is no such column, or the value is none of its kind.
        """
        terms, values = ["true"], list[object]()
        if self.search:
            looked_at = [f"s{number}" for number, column in enumerate(columns.listed) if column.searched]
            found = " OR ".join(contains(name) for name in looked_at)
            terms.append(f"({found})" if found else "false")
            values += [self.search] * len(looked_at)
        for condition in self.conditions:
            term, given = _term(condition, columns)
            terms.append(term)
            values += given
        return " AND ".join(terms), values

    def order(self, columns: PartColumns) -> str:
        """The order as SQL; rows without a value come last. Raises QueryError where a column cannot be sorted by."""
        if not self.sort:
            return "part, row"
        number, column = _find(self.sort, columns)
        if column.kind in ("nested", "bytes"):
            raise QueryError(f"{self.sort!r} holds {column.kind} values, which have no order")
        return f"v{number} {'DESC' if self.descending else 'ASC'} NULLS LAST, part, row"


def contains(name: str) -> str:
    """SQL that says whether a text column holds the parameter, in whatever case."""
    # As a pattern whose every character stands for itself: RE2 folds case while it looks, and copies no text.
    return f"regexp_matches({name}, regexp_escape(?), 'i')"


def _find(name: str, columns: PartColumns) -> tuple[int, ViewColumn]:
    number = columns.index(name)
    if number is None:
        names = ", ".join(column.name for column in columns.listed)
        raise QueryError(f"there is no column {name!r}; there are {names}")
    return number, columns.listed[number]


def _term(condition: Condition, columns: PartColumns) -> tuple[str, list[object]]:
    number, column = _find(condition.column, columns)
    name = f"v{number}"
    if condition.how in _WITHOUT_VALUE:
        return f"{name} IS {'' if condition.how == 'is_null' else 'NOT '}NULL", []
    if condition.how == "contains":
        if not column.searched:
            raise QueryError(f"{condition.column!r} holds no text; ask for is, at_least or at_most")
        return contains(f"s{number}"), [condition.value]
    if column.kind in ("nested", "bytes"):
        raise QueryError(f"{condition.column!r} holds {column.kind} values; ask for contains, is_null or is_not_null")
    if column.kind == "time" and column.clock == "duration":
        raise QueryError(f"{condition.column!r} holds lengths of time; ask for is_null or is_not_null")
    return _comparison(name, _OPERATORS[condition.how], column), [_value(condition, column)]


def _comparison(name: str, operator: str, column: ViewColumn) -> str:
    if column.kind != "time":
        return f"{name} {operator} ?"
    if column.clock == "time":
        # The column as well: DuckDB orders no times of nanoseconds beside others.
        return f"CAST({name} AS TIME) {operator} CAST(? AS TIME)"
    return f"{name} {operator} CAST(? AS TIMESTAMP)"


def _value(condition: Condition, column: ViewColumn) -> object:
    value = condition.value
    if column.kind == "boolean":
        if value.lower() not in ("true", "false"):
            raise QueryError(f"{condition.column!r} is true or false; {value!r} is neither")
        return value.lower() == "true"
    if column.kind != "number":
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    raise QueryError(f"{condition.column!r} holds numbers; {value!r} is none")


def score_conditions(least: float | None, most: float | None, answered: bool | None) -> Iterator[Condition]:
    """The conditions on answers that have fields of their own."""
    if least is not None:
        yield Condition("score", "at_least", repr(least))
    if most is not None:
        yield Condition("score", "at_most", repr(most))
    if answered is not None:
        yield Condition("answer", "is_not_null" if answered else "is_null")
