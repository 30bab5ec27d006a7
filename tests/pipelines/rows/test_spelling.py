"""Text of what is no text."""

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.rows.spelling import spelled, text_of

NOON = datetime(2020, 1, 1, 12, 0, 0, 120)


@pytest.mark.parametrize(
    ("values", "type", "texts"),
    [
        ([None, None], pa.null(), [None, None]),
        (["a", None], pa.large_string(), ["a", None]),
        ([True, False, None], pa.bool_(), ["true", "false", None]),
        ([1, -1, None], pa.int8(), ["1", "-1", None]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        ([1.0, 0.1, 1e20, None, -0.0], pa.float64(), ["1.0", "0.1", "1e+20", None, "-0.0"]),
        ([math.nan, math.inf, -math.inf], pa.float64(), [None, "Infinity", "-Infinity"]),
        ([0.1], pa.float32(), ["0.1"]),
        ([Decimal("1.50")], pa.decimal128(5, 2), ["1.50"]),
        ([date(2020, 1, 10)], pa.date32(), ["2020-01-10"]),
        ([NOON, None], pa.timestamp("us"), ["2020-01-01T12:00:00.00012", None]),
        ([10**9 + 1], pa.timestamp("ns", "Europe/Berlin"), ["1970-01-01T00:00:01.000000001Z"]),
        ([10], pa.timestamp("s", "UTC"), ["1970-01-01T00:00:10Z"]),
        ([2**60, 0], pa.timestamp("s"), ["<value out of range: 1152921504606846976>", "1970-01-01T00:00:00"]),
        ([time(1, 2, 3, 500_000)], pa.time64("us"), ["01:02:03.5"]),
        ([timedelta(seconds=1.5)], pa.duration("ms"), ["1500ms"]),
        ([b"x", None], pa.binary(), ["eA==", None]),
        ([b"x"], pa.binary(1), ["eA=="]),
        ([b"\x00" * 15 + b"\x01", None], pa.uuid(), ["00000000-0000-0000-0000-000000000001", None]),
        ([[1, None], None, []], pa.list_(pa.int8()), ["[1,null]", None, "[]"]),
        ([[b"x"]], pa.list_(pa.binary(), 1), ['["eA=="]']),
        ([{"a": NOON, "b": ["é"]}, None], None, ['{"a":"2020-01-01T12:00:00.00012","b":["é"]}', None]),
        ([[("a", 1.5)]], pa.map_(pa.string(), pa.float64()), ['[["a",1.5]]']),
        ([[math.nan, math.inf]], pa.list_(pa.float64()), ["[null,Infinity]"]),
    ],
)
def test_texts(values: list[Any], type: pa.DataType | None, texts: list[str | None]) -> None:
    array = pa.array(values, type)
    assert text_of(array).to_pylist() == texts
    assert text_of(array.slice(1)).to_pylist() == texts[1:]
    assert text_of(array.slice(0, 0)).type == pa.string()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_doubles_are_spelled_as_json_does(values: list[float]) -> None:
    assert text_of(pa.array(values, pa.float64())).to_pylist() == [orjson.dumps(value).decode() for value in values]


@pytest.mark.parametrize("value", [[2**70, {"a": -(2**70)}], [1e300, "é\x00"], {"b": [], "a": None}, True])
def test_json_is_spelled_so_that_it_can_be_read(value: Any) -> None:
    assert json.loads(spelled(value)) == value
    assert " " not in spelled(value)
