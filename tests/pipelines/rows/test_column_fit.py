"""Values in the type of their column: as they were, as text, or lost and said to be."""

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.type_union import SeenTypes
from pipelines.rows.column_fit import fit, fit_values
from pipelines.rows.spelling import spelled

TEXT, LARGE = pa.string(), pa.large_string()
MONEY = pa.decimal128(10, 2)
AB = pa.struct([("a", pa.int64()), ("b", TEXT)])
LOST = object()
"""In the place of a value that does not fit."""

CASES: list[tuple[pa.DataType | None, list[Any], pa.DataType, list[Any]]] = [
    # Nulls, and the same type.
    (pa.null(), [None, None], pa.list_(TEXT), [None, None]),
    (pa.int64(), [1, None], pa.int64(), [1, None]),
    # Integers.
    (pa.int8(), [-128, 127, None], pa.int64(), [-128, 127, None]),
    (pa.int64(), [-129, 127, 128], pa.int8(), [LOST, 127, LOST]),
    (pa.int64(), [-1, 0, 2**63 - 1], pa.uint64(), [LOST, 0, 2**63 - 1]),
    (pa.uint64(), [2**64 - 1, 5], pa.int64(), [LOST, 5]),
    (pa.uint64(), [2**64 - 1, None], pa.decimal128(20, 0), [Decimal(2**64 - 1), None]),
    (pa.int64(), [2**53 + 1, 2**60, 2**63 - 1, -(2**63)], pa.float64(), [LOST, 2.0**60, LOST, -(2.0**63)]),
    (pa.uint64(), [2**64 - 1, 2**63], pa.float64(), [LOST, 2.0**63]),
    (pa.int32(), [2**24 + 1, 2**31 - 1, 7], pa.float32(), [LOST, LOST, 7.0]),
    (pa.int32(), [70_000, 2048, 2049], pa.float16(), [LOST, 2048.0, LOST]),
    (pa.int64(), [5, 10**9], MONEY, [Decimal("5.00"), LOST]),
    (pa.int64(), [5, None], TEXT, ["5", None]),
    (pa.int64(), [5], pa.bool_(), [LOST]),
    (pa.int64(), [5], pa.date32(), [LOST]),
    # Doubles.
    (pa.float64(), [1.0, 1.5, math.nan, math.inf, 2.0**63, None], pa.int64(), [1, LOST, None, LOST, LOST, None]),
    (pa.float64(), [-(2.0**63)], pa.int64(), [-(2**63)]),
    (pa.float64(), [0.5, 0.1, math.inf], pa.float32(), [0.5, LOST, math.inf]),
    (pa.float32(), [0.5], pa.float64(), [0.5]),
    (pa.float16(), [1.0, 0.5, math.inf], pa.int64(), [1, LOST, LOST]),
    (pa.float64(), [5.5, 5.555, math.inf], MONEY, [Decimal("5.50"), LOST, LOST]),
    (pa.float64(), [1.0, math.nan, math.inf], LARGE, ["1.0", None, "Infinity"]),
    # Decimals.
    (MONEY, [Decimal("1.10"), None], pa.float64(), [1.1, None]),
    (pa.decimal128(38, 0), [Decimal(2**53 + 1), Decimal(10**22)], pa.float64(), [LOST, 1e22]),
    (MONEY, [Decimal("1.50")], pa.decimal128(20, 4), [Decimal("1.5000")]),
    (MONEY, [Decimal("1.50"), Decimal("2.00")], pa.int64(), [LOST, 2]),
    (MONEY, [Decimal("1.50")], TEXT, ["1.50"]),
    # Text.
    (TEXT, ["5", "02134", "+5", "5.0", " 5", "x", "-0", "9" * 30], pa.int64(), [5, *[LOST] * 5, 0, LOST]),
    (LARGE, ["1.50", "1e3", "9007199254740993", "01", "nan", ""], pa.float64(), [1.5, 1000.0, *[LOST] * 4]),
    (TEXT, ["1.5", "1.555", "x"], MONEY, [Decimal("1.50"), LOST, LOST]),
    (TEXT, ["true", "True", "1"], pa.bool_(), [True, LOST, LOST]),
    (TEXT, ["2020-01-10", "never", None], pa.date32(), [date(2020, 1, 10), LOST, None]),
    (TEXT, ["2020-01-10T01:02:03", "x"], pa.timestamp("us"), [datetime(2020, 1, 10, 1, 2, 3), LOST]),
    (
        TEXT,
        ["01:02:03.5", "01:02:03", "01:02", "23:59:59.999999", "01:02:03.1234567", "24:00:00", "1:02:03", "x", None],
        pa.time64("us"),
        [time(1, 2, 3, 500_000), time(1, 2, 3), time(1, 2), time(23, 59, 59, 999_999), *[LOST] * 4, None],
    ),
    (TEXT, ["01:02:03.000", "01:02:03.5", "01:02:03."], pa.time32("s"), [time(1, 2, 3), LOST, LOST]),
    (TEXT, ["01:02:03.120", "01:02:03.1234", "010203"], pa.time32("ms"), [time(1, 2, 3, 120_000), LOST, LOST]),
    (
        TEXT,
        ["1500ms", "-2s", "1us", "9" * 18 + "s", "1.5s", "5", "x", None],
        pa.duration("ms"),
        [timedelta(seconds=1.5), timedelta(seconds=-2), *[LOST] * 5, None],
    ),
    (TEXT, ["a"], LARGE, ["a"]),
    (TEXT, ["a"], pa.list_(TEXT), [LOST]),
    (TEXT, ["a"], pa.binary(), [LOST]),
    # Times, bytes and UUIDs.
    (pa.timestamp("ns"), [1000, 1], pa.timestamp("us"), [datetime(1970, 1, 1, 0, 0, 0, 1), LOST]),
    (pa.timestamp("us"), [0], pa.timestamp("us", "UTC"), [LOST]),
    (pa.date32(), [0], pa.timestamp("us"), [LOST]),
    (pa.timestamp("s"), [0, None], TEXT, ["1970-01-01T00:00:00", None]),
    (pa.binary(2), [b"ab"], pa.large_binary(), [b"ab"]),
    (pa.binary(), [b"ab", b"abc"], pa.binary(2), [b"ab", LOST]),
    (pa.uuid(), [b"\0" * 16], TEXT, ["00000000-0000-0000-0000-000000000000"]),
    (pa.uuid(), [b"\0" * 16], pa.binary(16), [LOST]),
    # Lists.
    (pa.list_(pa.int8()), [[1, None], None, []], pa.large_list(TEXT), [["1", None], None, []]),
    (pa.list_(pa.float64()), [[1.0], [1.0, 1.5], None, [2.0]], pa.list_(pa.int64()), [[1], LOST, None, [2]]),
    (pa.list_(pa.int8(), 2), [[1, 2], None], pa.list_(pa.int64()), [[1, 2], None]),
    (pa.list_(pa.int8()), [[1, 2], None, [1], [3, 4]], pa.list_(pa.int8(), 2), [[1, 2], None, LOST, [3, 4]]),
    (pa.list_(pa.int8()), [[1]], pa.int8(), [LOST]),
    (pa.list_(pa.int8()), [[1], None], TEXT, ["[1]", None]),
    # Structs.
    (pa.struct([("b", TEXT)]), [{"b": "x"}, None], AB, [{"a": None, "b": "x"}, None]),
    (None, [{"a": 1, "c": None}, {"a": 2, "c": 3}], AB, [{"a": 1, "b": None}, LOST]),
    (None, [{"a": 1.5, "b": "x"}, {"a": 1.0, "b": None}], AB, [LOST, {"a": 1, "b": None}]),
    (pa.list_(pa.struct([("b", pa.int8())])), [[{"b": 1}, None]], pa.list_(AB), [[{"a": None, "b": "1"}, None]]),
    # Maps.
    (
        pa.map_(pa.int8(), pa.float64()),
        [[(1, 1.0)], [(2, 1.5), (3, 2.0)], None, [(4, 4.0)]],
        pa.map_(TEXT, pa.int64()),
        [[("1", 1)], LOST, None, [("4", 4)]],
    ),
    (pa.map_(TEXT, TEXT), [[("a", "b")]], AB, [LOST]),
]


@pytest.mark.parametrize(("source", "values", "type", "expected"), CASES)
def test_columns(source: pa.DataType | None, values: list[Any], type: pa.DataType, expected: list[Any]) -> None:
    array = pa.array(values, source)
    for offset in (0, 1, len(values)):
        fitted = fit(array.slice(offset), type)
        wanted = expected[offset:]
        fitted.array.validate(full=True)
        assert fitted.array.type == type
        assert fitted.lost.tolist() == [value is LOST for value in wanted]
        assert [None if lost else value for lost, value in zip(fitted.lost, fitted.array.to_pylist(), strict=True)] == [
            None if value is LOST else value for value in wanted
        ]
        assert fitted.array.filter(pa.array(fitted.lost)).null_count == fitted.lost.sum()


@pytest.mark.parametrize(
    ("values", "type", "expected"),
    [
        ([1, "02134", None, 2.0, 2.5, True, 2**70], pa.int64(), [1, LOST, None, 2, LOST, LOST, LOST]),
        ([1, "x", [1], {"a": 1.5}, True, None, 2**70], TEXT, ["1", "x", "[1]", '{"a":1.5}', "true", None, str(2**70)]),
        ([1, 2.5, 2**53 + 1, 2**70], pa.float64(), [1.0, 2.5, LOST, 2.0**70]),
        ([1, 2**63, -(2**63)], pa.uint64(), [1, 2**63, LOST]),
        ([2**64 - 1, -5], pa.decimal128(20, 0), [Decimal(2**64 - 1), Decimal(-5)]),
        ([[1, "a", None], [], None, "a", {}], pa.list_(TEXT), [["1", "a", None], [], None, LOST, LOST]),
        ([[1], [1.5], [2.0]], pa.list_(pa.int64()), [[1], LOST, [2]]),
        ([[1, 2], [1], None], pa.list_(pa.int8(), 2), [[1, 2], LOST, None]),
        (
            [{"a": 1}, {"b": 2}, {"c": 3}, {"c": None}, [], None],
            AB,
            [{"a": 1, "b": None}, {"a": None, "b": "2"}, LOST, {"a": None, "b": None}, LOST, None],
        ),
        ([{"a": 1}, None], pa.map_(TEXT, TEXT), [LOST, None]),
        (["2020-01-10", 5], pa.date32(), [date(2020, 1, 10), LOST]),
        ([], AB, []),
    ],
)
def test_json_values(values: list[Any], type: pa.DataType, expected: list[Any]) -> None:
    fitted = fit_values(values, type)
    fitted.array.validate(full=True)
    assert fitted.array.type == type
    assert fitted.array.to_pylist() == [None if value is LOST else value for value in expected]
    assert fitted.lost.tolist() == [value is LOST for value in expected]


def test_text_of_what_is_none_is_told() -> None:
    assert fit(pa.array([1, None]), TEXT).spelled.tolist() == [True, False]
    assert fit(pa.array(["a"]), LARGE).spelled.tolist() == [False]
    assert fit(pa.array([[1], [], None]), pa.list_(TEXT)).spelled.tolist() == [True, False, False]
    assert fit_values(["a", 1, None, [1], 2**70], TEXT).spelled.tolist() == [False, True, False, True, True]
    assert fit_values([{"b": 1}, {"b": "x"}, {"b": 1, "c": 1}], AB).spelled.tolist() == [True, False, False]


def test_what_is_hundreds_deep_is_lost_and_no_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert fit_values([deep, 1], TEXT).lost.tolist() == [True, False]
    while deep:
        deep = deep.pop()


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**66), 2**66), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def _same(found: Any, value: Any, type: pa.DataType) -> bool:
    """Whether a value is in the output what it was in the input, its type apart."""
    if value is None or found is None:
        return found is value
    if pa.types.is_struct(type):
        given = {name: one for name, one in value.items() if one is not None or name in found}
        return given.keys() <= found.keys() and all(
            _same(found[field.name], given.get(field.name), field.type) for field in type
        )
    if pa.types.is_list(type):
        return len(found) == len(value) and all(
            _same(*pair, type.value_type) for pair in zip(found, value, strict=True)
        )
    if pa.types.is_string(type):
        return bool(found == (value if isinstance(value, str) else spelled(value)))
    return bool(found == value)


@settings(deadline=None, max_examples=200)
@given(st.lists(JSON, max_size=6), st.lists(JSON, max_size=4))
def test_every_value_is_what_it_was_or_told_to_be_lost(seen: list[Any], late: list[Any]) -> None:
    """Of values that the type was made of, only integers that a double cannot hold may be lost."""
    type = reduce(or_, (SeenTypes.of_values([value]) for value in seen), SeenTypes()).unified()
    fitted = fit_values([*seen, *late], type)
    for number, (value, found) in enumerate(zip([*seen, *late], fitted.array.to_pylist(), strict=True)):
        assert _same(found, value, type) != fitted.lost[number]
        if number < len(seen) and fitted.lost[number]:
            assert "double" in str(type) or "decimal" in str(type)


SIMPLE = st.recursive(
    st.one_of(st.none(), st.integers(-(2**40), 2**40)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(SIMPLE, max_size=5), st.sampled_from([pa.int64(), pa.float64(), TEXT, pa.list_(pa.int8()), pa.list_(TEXT)])
)
def test_json_and_columns_fit_alike(values: list[Any], type: pa.DataType) -> None:
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return
    one, other = fit(array, type), fit_values(values, type)
    assert one.array.to_pylist() == other.array.to_pylist()
    assert (one.lost.tolist(), one.spelled.tolist()) == (other.lost.tolist(), other.spelled.tolist())
