"""Lines of JSON: what is wrong with the bad ones, and how values become columns."""

from typing import Any

import pyarrow as pa
import pytest

from pipelines.rows.json_rows import parse_lines
from pipelines.rows.quarantine import Faults, Reason

LONGEST = 20_000


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b'{"a": 1', Reason.MALFORMED_JSON, "unexpected end"),
        (b"{'a': 1}", Reason.MALFORMED_JSON, "line 1 column 2"),
        (b'{"a": nan}', Reason.MALFORMED_JSON, "column"),
        (b"[" * 5000 + b"]" * 5000, Reason.MALFORMED_JSON, "depth"),
        (b'{"a": "\xff"}', Reason.INVALID_UTF8, "byte 7"),
        (b'{"a": "\xed\xa0\x80"}', Reason.INVALID_UTF8, "byte 7"),
        (b'{"a": "\\ud83d x"}', Reason.LONE_SURROGATE, r"\ud83d"),
        (b'{"\\udc00": 1}', Reason.LONE_SURROGATE, r"\udc00"),
        (b"[1]", Reason.NOT_AN_OBJECT, "array"),
        (b'"a"', Reason.NOT_AN_OBJECT, "string"),
        (b"1.5", Reason.NOT_AN_OBJECT, "number"),
        (b"true", Reason.NOT_AN_OBJECT, "boolean"),
        (b"null", Reason.NOT_AN_OBJECT, "null"),
        (b'{"a": "' + b"x" * 20_000 + b'"}', Reason.LINE_TOO_LONG, "20,000 bytes"),
    ],
)
def test_bad_lines(line: bytes, reason: Reason, detail: str) -> None:
    faults = Faults()
    parsed = parse_lines([b'{"a": 1}', line], faults, LONGEST)
    assert parsed.rows == [{"a": 1}, {}]
    assert list(faults.by_row) == [1]
    assert faults.by_row[1].reason == reason
    assert detail in faults.by_row[1].detail


def _column(values: list[Any], method: str, *arguments: Any) -> tuple[list[Any], dict[int, str]]:
    import orjson

    faults = Faults()
    parsed = parse_lines([orjson.dumps({"x": value} if value != "absent" else {}) for value in values], faults, LONGEST)
    column = getattr(parsed, method)(*arguments or ("x",))
    assert all(fault.reason == Reason.WRONG_TYPE for fault in faults.by_row.values())
    return column.to_pylist(), {row: fault.detail for row, fault in faults.by_row.items()}


def test_ids_are_strings_or_whole_numbers() -> None:
    values = ["007", 7, None, "absent", 1.5, True, [1], 2**64 - 1, -1]
    found, faults = _column(values, "ids")
    assert found == ["007", "7", None, None, None, None, None, str(2**64 - 1), "-1"]
    assert sorted(faults) == [4, 5, 6]
    assert faults[4] == "'x': an id is a string or a whole number of at most 64 bits, not double"


def test_an_id_beyond_64_bits_is_not_rounded() -> None:
    faults = Faults()
    parsed = parse_lines([b'{"x": 123456789012345678901234567890}'], faults, LONGEST)
    assert parsed.ids("x").to_pylist() == [None]
    assert faults.by_row[0].reason == Reason.WRONG_TYPE


def test_texts_are_strings() -> None:
    found, faults = _column(["a", 1, None, "absent", ["b"], {"c": 1}, "😀"], "texts")
    assert found == ["a", None, None, None, None, None, "😀"]
    assert sorted(faults) == [1, 4, 5]


@pytest.mark.parametrize(
    ("type", "values", "expected", "bad"),
    [
        (pa.int64(), [1, 2.0, 2.5, "3", "x", None], [1, 2, None, 3, None, None], [2, 4]),
        (pa.float64(), [1, 2.5, "x"], [1.0, 2.5, None], [2]),
        (pa.string(), ["a", 5], ["a", "5"], []),
        (pa.list_(pa.int64()), [[1], [], None, [1.5], 3], [[1], [], None, None, None], [3, 4]),
        (
            pa.struct([("a", pa.int64())]),
            [{"a": 1}, {"a": 1, "b": 2}, {}, 4],
            [{"a": 1}, {"a": 1}, {"a": None}, None],
            [3],
        ),
        (pa.timestamp("us"), ["2020-01-01", "never"], None, [1]),
    ],
)
def test_carried_values_cast_without_loss(type: pa.DataType, values: list[Any], expected: Any, bad: list[int]) -> None:
    found, faults = _column(values, "carried", pa.field("x", type))
    assert sorted(faults) == bad
    if expected is not None:
        assert found == expected


def test_nan_and_infinity_are_null_and_named() -> None:
    faults = Faults()
    lines = [b'{"a": NaN, "b": [1, Infinity], "c": "NaN"}', b'{"a": 1}', b'{"a": NaN, "b": "\\ud800"}', b'{"a": NaN']
    rows = parse_lines(lines, faults, 1000)
    assert rows.rows == [{"a": None, "b": [1, None], "c": "NaN"}, {"a": 1}, {}, {}]
    assert rows.not_numbers == {0: ("a", "b")}
    assert [fault.reason for fault in faults.by_row.values()] == [Reason.LONE_SURROGATE, Reason.MALFORMED_JSON]
