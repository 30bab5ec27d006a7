"""What is asked for, as SQL: no text of a user is ever part of it."""

import pyarrow as pa
import pytest

from pipelines.view.columns import PartColumns
from pipelines.view.row_query import Condition, QueryError, RowQuery, score_conditions

EVIL = "'; DROP TABLE rows; --"
COLUMNS = PartColumns.of(
    pa.schema([(EVIL, pa.string()), ("n", pa.int64()), ("is", pa.bool_()), ("tags", pa.list_(pa.string()))]),
    frozenset([EVIL, "n", "is", "tags"]),
)


def test_names_and_values_of_users_are_no_sql() -> None:
    query = RowQuery(EVIL, (Condition(EVIL, "is", EVIL), Condition(EVIL, "contains", EVIL)), EVIL, True)
    where, values = query.where(COLUMNS)
    assert "DROP" not in where + query.order(COLUMNS)
    assert values == [EVIL] * 4
    assert where.count("?") == len(values)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "a JSON array"),
        ("7", "a JSON array"),
        ("[]", "a JSON array"),
        ('["n"]', "a JSON array"),
        ('["n", "like", "1"]', "'like' is none"),
        ('["n", ["is"], "1"]', "is none"),
        ('["n", "is"]', "takes one value"),
        ('["n", "is", 1]', "takes one value"),
        ('["n", "is_null", "1"]', "takes no value"),
        ('[1, "is", "1"]', "takes one value"),
    ],
)
def test_conditions_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        Condition.parse(text)


def test_conditions_are_read() -> None:
    assert Condition.parse('["n", "at_least", "3"]') == Condition("n", "at_least", "3")
    assert Condition.parse('["n", "is_null"]') == Condition("n", "is_null")


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (Condition("m", "is", "1"), "there is no column 'm'; there are "),
        (Condition("n", "is", "one"), "holds numbers; 'one' is none"),
        (Condition("n", "contains", "1"), "holds no text"),
        (Condition("is", "is", "yes"), "true or false"),
        (Condition("tags", "is", "a"), "holds nested values"),
    ],
)
def test_what_does_not_fit_the_columns_is_refused(condition: Condition, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        RowQuery(conditions=(condition,)).where(COLUMNS)


def test_there_is_no_order_of_nested_values() -> None:
    with pytest.raises(QueryError, match="no order"):
        RowQuery(sort="tags").order(COLUMNS)
    with pytest.raises(QueryError, match="no column 'part'"):
        RowQuery(sort="part").order(COLUMNS)


def test_large_whole_numbers_stay_exact() -> None:
    _, values = RowQuery(conditions=(Condition("n", "is", "9007199254740993"),)).where(COLUMNS)
    assert values == [9007199254740993]


def test_conditions_on_answers_have_fields_of_their_own() -> None:
    assert list(score_conditions(0.25, 1.0, True)) == [
        Condition("score", "at_least", "0.25"),
        Condition("score", "at_most", "1.0"),
        Condition("answer", "is_not_null"),
    ]
    assert list(score_conditions(None, None, False)) == [Condition("answer", "is_null")]
    assert RowQuery().is_everything
    assert not RowQuery(sort="n").is_everything
