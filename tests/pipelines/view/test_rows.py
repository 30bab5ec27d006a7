"""Pages of rows that the pipeline's own sinks wrote."""

from datetime import time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipelines.view.catalog import Catalog
from pipelines.view.row_query import Condition, QueryError, RowQuery
from pipelines.view.rows import count_rows, find_keys, frequent_values, list_rows, plain
from tests.pipelines.view.conftest import Open
from tests.pipelines.view.outputs import ANSWERS, TOWNS, Added, write_output

IDS = ["q0", "q1", "q3", "q4", "q5"]


def _ids(catalog: Catalog, query: RowQuery, offset: int = 0, limit: int = 50) -> list[Any]:
    rows = catalog.outputs[0].rows
    with catalog.cursor() as cursor:
        listed = list_rows(cursor, rows, find_keys(cursor, rows, query, offset, limit))
        if not offset and limit == 50:
            assert count_rows(cursor, rows, query) == len(listed)
    return [row.values[rows.columns.index("id") or 0] for row in listed]


def test_all_rows_come_in_the_order_of_the_corpus_page_by_page(catalog: Catalog) -> None:
    everything = RowQuery()
    assert _ids(catalog, everything) == IDS
    assert [_ids(catalog, everything, offset, 2) for offset in (0, 2, 4, 6)] == [IDS[:2], IDS[2:4], IDS[4:], []]
    # The same pages by a query, where a condition holds of all.
    asked = RowQuery(conditions=(Condition("id", "is_not_null"),))
    assert [_ids(catalog, asked, offset, 2) for offset in (0, 2, 4, 6)] == [IDS[:2], IDS[2:4], IDS[4:], []]


def test_a_row_has_its_values_and_the_place_in_its_part(catalog: Catalog, cursor: duckdb.DuckDBPyConnection) -> None:
    rows = catalog.outputs[0].rows
    names = [column.name for column in rows.columns.listed]
    assert names == ["id", "title", "year", "answer", "score", "start", "end"]
    listed = list_rows(cursor, rows, find_keys(cursor, rows, RowQuery(), 0, 50))
    assert [str(row.key) for row in listed] == ["0-0-0", "0-0-1", "0-1-0", "0-2-0", "0-2-1"]
    assert listed[1].values == ("q1", "Bo", 1816, "Bo", 0.5, 2, 4)
    assert listed[2].values == ("q3", "Rain", None, None, 0.7, None, None)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ada", ["q0"]),
        ("LONDON", ["q0"]),
        ("דנה", ["q4"]),
        ("<b>", ["q4"]),
        ("_", ["q5"]),
        ("%", []),
        ("_no_", ["q5"]),
        ("'; DROP TABLE rows_0; --", []),
        ("\\", []),
        (".*", []),
        ("(", []),
        ("q", IDS),
        ("\x00", []),
    ],
)
def test_a_search_takes_every_character_as_itself(catalog: Catalog, search: str, found: list[str]) -> None:
    assert _ids(catalog, RowQuery(search)) == found
    assert _ids(catalog, RowQuery()) == IDS


def test_it_is_said_where_a_search_was(tmp_path: Path, opened: Open) -> None:
    rows = [{**TOWNS[0], "title": f"{'a ' * 200}\nthe (Łódź) Harbour{' z' * 200}"}]
    catalog = opened(write_output(tmp_path / "out", rows, {"q0": ("London", 0.5)}, folder=tmp_path))
    table = catalog.outputs[0].rows
    with catalog.cursor() as cursor:
        keys = find_keys(cursor, table, RowQuery("(łódź)"), 0, 5)
        [row] = list_rows(cursor, table, keys, "(łódź)")
        assert row.found == {"title": f"{' a' * 22} \nthe (Łódź) Harbour{' z' * 31}"}
        assert list_rows(cursor, table, keys)[0].found == {}


def test_long_texts_and_case_of_other_alphabets_are_searched(tmp_path: Path, opened: Open) -> None:
    rows = [{"id": "long", "question": "Who?", "context": "Ada.", "title": "x" * 5000 + " ŁÓDŹ", "year": 1}]
    catalog = opened(write_output(tmp_path / "out", rows, {"long": ("Ada", 0.5)}, folder=tmp_path))
    assert _ids(catalog, RowQuery("łódź")) == ["long"]
    with catalog.cursor() as cursor:
        table = catalog.outputs[0].rows
        [row] = list_rows(cursor, table, find_keys(cursor, table, RowQuery(), 0, 1))
    assert row.values[1] == "x" * 300 + "…"


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (Condition("score", "at_least", "0.5"), ["q0", "q1", "q3"]),
        (Condition("score", "at_most", "0.25"), ["q4", "q5"]),
        (Condition("score", "is", "0.5"), ["q1"]),
        (Condition("year", "at_least", "1816"), ["q1", "q4", "q5"]),
        (Condition("year", "is_not", "1816"), ["q0", "q3", "q4", "q5"]),
        (Condition("year", "is_null"), ["q3"]),
        (Condition("answer", "is_null"), ["q3"]),
        (Condition("answer", "is_not_null"), ["q0", "q1", "q4", "q5"]),
        (Condition("title", "is", "Ada"), ["q0"]),
        (Condition("title", "is", "ada"), []),
        (Condition("title", "is", "Ada' OR '1'='1"), []),
        (Condition("title", "contains", "A"), ["q0", "q3", "q4"]),
    ],
)
def test_conditions(catalog: Catalog, condition: Condition, found: list[str]) -> None:
    assert _ids(catalog, RowQuery(conditions=(condition,))) == found


def test_conditions_hold_together_with_a_search(catalog: Catalog) -> None:
    query = RowQuery("q", (Condition("score", "at_least", "0.2"), Condition("answer", "is_not_null")), "score", True)
    assert _ids(catalog, query) == ["q0", "q1", "q4"]


@pytest.mark.parametrize(
    ("sort", "descending", "order"),
    [
        ("score", True, ["q0", "q3", "q1", "q4", "q5"]),
        ("score", False, ["q5", "q4", "q1", "q3", "q0"]),
        ("year", False, ["q0", "q1", "q4", "q5", "q3"]),
        ("year", True, ["q5", "q4", "q1", "q0", "q3"]),
        ("title", False, ["q4", "q0", "q1", "q5", "q3"]),
    ],
)
def test_rows_are_sorted_by_any_column_those_without_a_value_last(
    catalog: Catalog, sort: str, descending: bool, order: list[str]
) -> None:
    query = RowQuery(sort=sort, descending=descending)
    assert _ids(catalog, query) == order
    assert _ids(catalog, query, 1, 3) == order[1:4]


def test_several_answers_are_listed_by_the_best_and_searched_in_all(tmp_path: Path, opened: Open) -> None:
    answers = {id: [answer, ("nothing" if answer[0] is None else None, 0.01)] for id, answer in ANSWERS.items()}
    rows = [{**row, "context": f"{row['context']} nothing"} for row in TOWNS]
    for form in ("parquet", "jsonl"):
        words = ("qa.top_k=2", f"output.format={form}")
        catalog = opened(write_output(tmp_path / form, rows, answers, *words, folder=tmp_path))
        names = [column.name for column in catalog.outputs[0].rows.columns.listed]
        assert names == ["id", "title", "year", "answer", "score", "start", "end"]
        assert _ids(catalog, RowQuery(sort="score", descending=True)) == ["q0", "q3", "q1", "q4", "q5"]
        assert _ids(catalog, RowQuery("nothing")) == ["q3"]
        assert _ids(catalog, RowQuery(conditions=(Condition("answer", "is", "London"),))) == ["q0"]


def test_columns_of_all_kinds(tmp_path: Path, opened: Open) -> None:
    """Names that SQL would take for something else, two that differ in case alone, and types of all sorts."""
    rows = [
        {
            **row,
            'na"me; --': n,
            "Title": f"T{n}",
            "file_row_number": 9 - n,
            "tags": {"a": [n]},
            "at": f"2024-01-0{n + 1}",
        }
        for n, row in enumerate(TOWNS)
    ]
    carry = '[title, Title, "na\\"me; --", file_row_number, tags, at]'
    for form in ("parquet", "jsonl"):
        words = (f"corpus.carry={carry}", 'corpus.types={at: "timestamp[us]"}', f"output.format={form}")
        catalog = opened(write_output(tmp_path / form, rows, ANSWERS, *words, folder=tmp_path))
        assert _ids(catalog, RowQuery(conditions=(Condition("Title", "is", "T1"),))) == ["q1"]
        assert _ids(catalog, RowQuery(sort='na"me; --', descending=True)) == IDS[::-1]
        assert _ids(catalog, RowQuery(sort="file_row_number")) == IDS[::-1]
        assert _ids(catalog, RowQuery(conditions=(Condition("tags", "contains", "[3]"),))) == ["q3"]
        assert _ids(catalog, RowQuery(conditions=(Condition("at", "at_least", "2024-01-05"),))) == ["q4", "q5"]


@pytest.mark.parametrize("place", ["in place", "loaded[1]"])
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_times_of_day_and_lengths_of_time(tmp_path: Path, opened: Open, place: str, unit: str) -> None:
    added: Added = {
        "t": (pa.time64(unit), lambda row: time(int(row["id"][1:]))),
        "long": (pa.duration("s"), lambda row: timedelta(seconds=3)),
    }
    catalog = opened(write_output(tmp_path / place / "out", TOWNS, ANSWERS, folder=tmp_path, added=added))
    assert _ids(catalog, RowQuery(conditions=(Condition("t", "is", "01:00:00"),))) == ["q1"]
    assert _ids(catalog, RowQuery(conditions=(Condition("t", "at_least", "04:00"),))) == ["q4", "q5"]
    with pytest.raises(QueryError, match="time"):
        _ids(catalog, RowQuery(conditions=(Condition("t", "is", "noon"),)))
    assert _ids(catalog, RowQuery(conditions=(Condition("long", "is_not_null"),))) == IDS
    with pytest.raises(QueryError, match="lengths of time; ask for is_null"):
        _ids(catalog, RowQuery(conditions=(Condition("long", "is", "3 seconds"),)))


def test_frequent_values_come_with_their_counts(catalog: Catalog, cursor: duckdb.DuckDBPyConnection) -> None:
    opened = catalog.outputs[0]
    assert frequent_values(cursor, opened.quarantine, "reason") == [("empty_question", 1)]
    assert frequent_values(cursor, opened.rows, "title")[0] == ("<b>Dana</b>", 1)
    with pytest.raises(QueryError, match="no column 'nope'"):
        frequent_values(cursor, opened.rows, "nope")


def test_quarantine_is_a_table_like_the_rows(catalog: Catalog, cursor: duckdb.DuckDBPyConnection) -> None:
    table = catalog.outputs[0].quarantine
    [row] = list_rows(cursor, table, find_keys(cursor, table, RowQuery("nobody"), 0, 5))
    assert row.values[:4] == ("q2", "input.jsonl", row.values[2], "empty_question")
    assert "Nobody came." in row.values[5]


def test_numbers_that_javascript_cannot_hold_are_texts() -> None:
    assert [plain(value) for value in (1, 2**53, -(2**60), 0.5, float("nan"), float("inf"), True, None)] == [
        *(1, str(2**53), str(-(2**60)), 0.5, "nan", "inf", True, None)
    ]


def test_heavy_columns_are_no_part_of_the_list(tmp_path: Path, opened: Open) -> None:
    added = {"attribution": (pa.list_(pa.struct([("text", pa.string())])), lambda row: [{"text": row["id"]}])}
    for form in ("parquet", "jsonl"):
        output = write_output(tmp_path / form, TOWNS, ANSWERS, f"output.format={form}", folder=tmp_path, added=added)
        columns = opened(output).outputs[0].rows.columns
        assert columns.heavy == ("attribution",)
        assert columns.index("attribution") is None
