"""Lines of JSON: what is wrong with the bad ones, and how values become columns."""

from typing import Any

import orjson
import pyarrow as pa
import pytest

from pipelines.rows.json_rows import JsonRows, parse_lines
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


def _parsed(values: list[Any]) -> JsonRows:
    return parse_lines([orjson.dumps({"x": value} if value != "absent" else {}) for value in values], Faults(), LONGEST)


def test_ids_are_strings_or_whole_numbers() -> None:
    values = ["007", 7, None, "absent", 1.5, True, [1], 2**64 - 1, -1, 1.0]
    found, refused = _parsed(values).ids("x")
    assert found.to_pylist() == ["007", "7", None, None, None, None, None, str(2**64 - 1), "-1", "1"]
    assert refused.nonzero()[0].tolist() == [4, 5, 6]


def test_integers_beyond_64_bits_are_not_rounded() -> None:
    lines = [b'{"x": 123456789012345678901234567890}', b'{"x": [{"y": -9223372036854775809}]}', b'{"x": 1e30}']
    parsed = parse_lines(lines, Faults(), LONGEST)
    texts, refused = parsed.ids("x")
    assert texts.to_pylist() == ["123456789012345678901234567890", None, None]
    assert refused.tolist() == [False, True, True]
    carried = parsed.carried(pa.field("x", pa.string())).array.to_pylist()
    assert carried == ["123456789012345678901234567890", '[{"y":-9223372036854775809}]', "1e+30"]
    assert parsed.carried(pa.field("x", pa.float64())).lost.tolist() == [True, True, False]


@pytest.mark.parametrize("inside", [b"1", b"1e30", b"NaN"])
def test_a_value_that_nests_too_deeply_costs_itself_alone(inside: bytes) -> None:
    deep = b'{"x": ' + b"[" * 1000 + inside + b"]" * 1000 + b"}"
    faults = Faults()
    parsed = parse_lines([deep, b'{"x": [12345678901234567890123]}'], faults, LONGEST)
    fitted = parsed.carried(pa.field("x", pa.string()))
    assert fitted.array.to_pylist() == [None, "[12345678901234567890123]"]
    assert fitted.lost.tolist() == [0 not in faults.by_row, False]
    assert parsed.ids("x")[0].to_pylist() == [None, None]


def test_texts_are_strings() -> None:
    parsed = _parsed(["a", 1, None, "absent", ["b"], {"c": 1}, "😀"])
    assert parsed.texts("x").to_pylist() == ["a", None, None, None, None, None, "😀"]
    assert {row: fault.reason for row, fault in parsed.faults.by_row.items()} == dict.fromkeys(
        (1, 4, 5), Reason.WRONG_TYPE
    )


def test_nan_and_infinity_are_null_and_named() -> None:
    faults = Faults()
    lines = [b'{"a": NaN, "b": [1, Infinity], "c": "NaN"}', b'{"a": 1}', b'{"a": NaN, "b": "\\ud800"}', b'{"a": NaN']
    rows = parse_lines(lines, faults, 1000)
    assert rows.rows == [{"a": None, "b": [1, None], "c": "NaN"}, {"a": 1}, {}, {}]
    assert rows.not_numbers == {0: ("a", "b")}
    assert [fault.reason for fault in faults.by_row.values()] == [Reason.LONE_SURROGATE, Reason.MALFORMED_JSON]


def test_a_carried_value_that_does_not_fit_costs_no_row() -> None:
    parsed = _parsed([1, 2.5, None, "absent"])
    fitted = parsed.carried(pa.field("x", pa.int64()))
    assert (fitted.array.to_pylist(), fitted.lost.tolist()) == ([1, None, None, None], [False, True, False, False])
    assert parsed.faults.by_row == {}
