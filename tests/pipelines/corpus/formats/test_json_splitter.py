"""Documents of JSON are cut into rows as a parser would find them, wherever the text is cut into chunks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.formats.json_splitter import BrokenDocumentError, cut_rows

# Everything that could be taken for structure, in strings too.
TEXTS = st.text(alphabet='ab"\\{}[],: \n\té', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.dictionaries(TEXTS, VALUES, max_size=3)
SIZES = st.integers(1, 60)


def _chunks(text: bytes, size: int) -> Iterator[bytes]:
    return (text[place : place + size] for place in range(0, len(text), size))


def _rows(text: bytes, size: int = 1000, start: int = 0, max_bytes: int = 10**6) -> list[tuple[int, bytes]]:
    """Place and bytes of every row."""
    blocks = cut_rows(_chunks(text, size), start, max_bytes)
    tables = [block.table() for block in blocks]
    return [(row["_byte"], row["_line"]) for table in tables for row in table.to_pylist()]


@settings(deadline=None)
@given(st.lists(ROWS | st.lists(VALUES, max_size=4), max_size=4), st.sampled_from([None, 0, 3, 70]), SIZES)
def test_arrays_and_objects_one_after_the_other(documents: list[Any], indent: int | None, size: int) -> None:
    text = "\n".join(json.dumps(document, indent=indent, ensure_ascii=False) for document in documents).encode()
    rows = _rows(text, size)
    expected = [row for one in documents for row in (one if isinstance(one, list) else [one])]
    assert [json.loads(row) for _, row in rows] == expected
    assert all(text[place : place + len(row)] == row for place, row in rows)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=4), ROWS, st.sampled_from([None, 0, 3]), SIZES)
def test_an_array_within_an_object(rows: list[Any], beside: dict[str, Any], indent: int | None, size: int) -> None:
    before = json.dumps({"before": beside}, indent=indent).encode().rstrip(b"\n }") + b'}, "data": '
    text = before + json.dumps(rows, indent=indent).encode() + b', "after": [{"no": "row"}]}'
    assert [json.loads(row) for _, row in _rows(text, size, start=len(before))] == rows


def test_a_broken_row_costs_itself() -> None:
    text = b'[{"a": 1}, {"b": nonsense}, 5, , {"c" 2}, {"d": 3}]'
    assert [row for _, row in _rows(text)] == [b'{"a": 1}', b'{"b": nonsense}', b"5", b'{"c" 2}', b'{"d": 3}']
    assert [row for _, row in _rows(b'{"a": 1} odd {"b": 2} end')] == [b'{"a": 1}', b"odd", b'{"b": 2}', b"end"]


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_row_that_is_too_long_is_cut(size: int) -> None:
    rows = _rows(b'[{"a": "' + b"x" * 500 + b'"}, {"b": 1}]', size, max_bytes=20)
    assert [len(row) > 20 for _, row in rows] == [True, False]
    assert rows[1][1] == b'{"b": 1}'
    if size < 1000:
        assert len(rows[0][1]) == 21


@pytest.mark.parametrize(
    ("text", "rows", "words"),
    [
        (b'[{"a": 1}, {"b": 2', 1, "it ends at byte 18, where a bracket is open still"),
        (b'[{"a": 1}, {"b', 1, "it ends at byte 14, where a quote is open still"),
        (b'[{"a": 1}', 0, "it ends at byte 9, where a bracket"),
        (b'{"a": 1}\n{"b": 1}}', 2, "the bracket at byte 17 closes none that is open"),
    ],
)
def test_brackets_that_do_not_fit(text: bytes, rows: int, words: str) -> None:
    found: list[Any] = []

    def read() -> None:
        for block in cut_rows(iter([text]), 0, 100):
            found.extend(block.table().to_pylist())

    with pytest.raises(BrokenDocumentError, match=words):
        read()
    assert len(found) == rows


def test_a_byte_order_mark_is_no_part_of_a_row() -> None:
    assert _rows(b'\xef\xbb\xbf[{"a": 1}]') == [(4, b'{"a": 1}')]
    assert _rows(b"") == _rows(b" \n") == _rows(b"[]") == []
