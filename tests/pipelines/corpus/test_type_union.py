"""One type for several: the table of docs/bad-input.md, in whatever order types are met."""

import math
import time
from collections.abc import Sequence
from functools import reduce
from itertools import permutations
from operator import or_
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.type_union import DEEPEST, MOST_FIELDS, SeenTypes

TEXT = pa.string()
SCALARS = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int64(), pa.uint8(), pa.uint64(), pa.float16(), pa.float64()),
    *(pa.decimal128(5, 2), pa.decimal128(38, 0), pa.decimal256(70, 30), pa.decimal32(5, 0), TEXT, pa.large_string()),
    *(pa.string_view(), pa.binary(), pa.large_binary(), pa.binary(4), pa.binary(5), pa.date32(), pa.date64()),
    *(pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("ms", "Europe/Berlin")),
    *(pa.time32("s"), pa.time64("ns"), pa.duration("ms"), pa.uuid(), pa.dictionary(pa.int8(), TEXT), pa.json_()),
]


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    fields = st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=3, unique_by=lambda field: field[0])
    return st.one_of(
        st.builds(pa.list_, inner),
        st.builds(pa.large_list, inner),
        st.builds(pa.list_, inner, st.integers(0, 2)),
        st.builds(pa.list_view, inner),
        st.builds(pa.map_, inner.filter(lambda type: type != pa.null()), inner),
        st.builds(pa.struct, fields),
    )


TYPES = st.recursive(st.sampled_from(SCALARS), _nested, max_leaves=6)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**66), 2**66), st.floats(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
SEEN = st.one_of(st.builds(SeenTypes.of_type, TYPES), st.builds(lambda value: SeenTypes.of_values([value]), VALUES))


def _unified(*types: pa.DataType) -> pa.DataType:
    return reduce(or_, map(SeenTypes.of_type, types), SeenTypes()).unified()


@settings(deadline=None)
@given(st.lists(SEEN, max_size=4), st.randoms())
def test_the_order_of_files_does_not_matter(seen: list[SeenTypes], random: Any) -> None:
    joined = reduce(or_, seen, SeenTypes())
    shuffled = random.sample(seen, len(seen))
    middle = len(seen) // 2
    other = reduce(or_, shuffled[:middle], SeenTypes()) | reduce(or_, shuffled[middle:], SeenTypes())
    assert joined == other
    assert (joined.unified(), joined.is_mixed) == (other.unified(), other.is_mixed)
    assert joined | joined == joined


@settings(deadline=None)
@given(SEEN, SEEN, SEEN)
def test_joining_is_commutative_and_associative(one: SeenTypes, two: SeenTypes, three: SeenTypes) -> None:
    assert one | two == two | one
    assert (one | two) | three == one | (two | three)
    assert one | SeenTypes() == one


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6))
def test_values_are_joined_as_files_are(values: list[Any]) -> None:
    one_by_one = reduce(or_, (SeenTypes.of_values([value]) for value in values), SeenTypes())
    assert SeenTypes.of_values(values).unified() == one_by_one.unified()


@settings(deadline=None)
@given(TYPES)
def test_what_is_joined_is_a_type_that_can_be_carried(type: pa.DataType) -> None:
    unified = _unified(type)
    assert SeenTypes.of_type(unified).unified() == unified


DECIMAL = pa.decimal128(10, 2)
A, B, AB = (pa.struct([(name, pa.int64()) for name in names]) for names in ("a", "b", "ab"))


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([], TEXT),
        ([pa.null()], TEXT),
        ([pa.null(), pa.list_(pa.int8())], pa.list_(pa.int8())),
        ([pa.int64(), TEXT], TEXT),
        ([pa.float64(), pa.large_string()], pa.large_string()),
        ([pa.int64(), pa.float64()], pa.float64()),
        ([pa.int8(), pa.float32()], pa.float64()),
        ([pa.float16(), pa.float32()], pa.float32()),
        ([pa.int8(), pa.int32()], pa.int32()),
        ([pa.int8(), pa.uint8()], pa.int16()),
        ([pa.int64(), pa.uint32()], pa.int64()),
        ([pa.int8(), pa.uint64()], pa.decimal128(20, 0)),
        ([DECIMAL, pa.decimal128(6, 4)], pa.decimal128(12, 4)),
        ([DECIMAL, pa.int64()], pa.decimal128(22, 2)),
        ([DECIMAL, pa.decimal128(38, 10)], pa.decimal128(38, 10)),
        ([DECIMAL, pa.float64()], pa.float64()),
        ([pa.decimal256(76, 0), pa.decimal256(76, 76)], TEXT),
        ([pa.decimal256(76, 0), pa.decimal256(76, 76), pa.float64()], pa.float64()),
        ([pa.decimal32(5, 2)], pa.decimal32(5, 2)),
        ([pa.bool_(), pa.int8()], TEXT),
        ([pa.date32(), pa.timestamp("us")], TEXT),
        ([pa.timestamp("ms"), pa.timestamp("ns")], pa.timestamp("ns")),
        ([pa.timestamp("us"), pa.timestamp("us", "UTC")], TEXT),
        ([pa.timestamp("us", "Europe/Berlin")] * 2, pa.timestamp("us", "Europe/Berlin")),
        ([pa.timestamp("us", "Europe/Berlin"), pa.timestamp("s", "Asia/Tokyo")], pa.timestamp("us", "UTC")),
        ([pa.time32("ms"), pa.time64("us")], pa.time64("us")),
        ([pa.binary(4), pa.binary(4)], pa.binary(4)),
        ([pa.binary(4), pa.binary(5)], pa.binary()),
        ([pa.binary(), TEXT], TEXT),
        ([pa.uuid()], pa.uuid()),
        ([pa.uuid(), TEXT], TEXT),
        ([pa.list_(A), pa.list_(B)], pa.list_(AB)),
        ([pa.list_(pa.null()), pa.large_list(pa.int8())], pa.large_list(pa.int8())),
        ([pa.list_(pa.int8(), 2), pa.list_(pa.int8(), 2)], pa.list_(pa.int8(), 2)),
        ([pa.list_(pa.int8(), 2), pa.list_(pa.int8(), 3)], pa.list_(pa.int8())),
        ([pa.list_view(pa.string_view())], pa.list_(TEXT)),
        ([pa.list_(pa.int8()), pa.int8()], TEXT),
        ([A, B], AB),
        ([A, pa.struct([("a", TEXT)])], pa.struct([("a", TEXT)])),
        ([A, pa.struct([])], A),
        ([pa.struct([])], TEXT),
        ([A, pa.map_(TEXT, pa.int64())], TEXT),
        ([pa.map_(TEXT, pa.int64()), pa.map_(pa.string_view(), pa.float64())], pa.map_(TEXT, pa.float64())),
        ([pa.dictionary(pa.int8(), pa.string_view()), pa.null()], TEXT),
        ([pa.json_()], TEXT),
        ([pa.fixed_shape_tensor(pa.int8(), [2])], pa.list_(pa.int8(), 2)),
    ],
)
def test_the_table(types: Sequence[pa.DataType], expected: pa.DataType) -> None:
    for order in permutations(types):
        assert _unified(*order) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None], TEXT),
        (["a", None], TEXT),
        (["2020-01-01"], TEXT),
        ([1, 2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([1, 2**63], pa.decimal128(20, 0)),
        ([2**63], pa.uint64()),
        ([2**64, 1], TEXT),
        ([-(2**63) - 1], TEXT),
        ([12345, "02134"], TEXT),
        ([True, 1], TEXT),
        ([[], None], pa.list_(TEXT)),
        ([[1], [0.5]], pa.list_(pa.float64())),
        ([[1], ["a"]], pa.list_(TEXT)),
        ([{"a": 1}, {"b": 2}], AB),
        ([{}, {"a": [None]}], pa.struct([("a", pa.list_(TEXT))])),
        ([{}], TEXT),
        ([{"a": 1}, [1]], TEXT),
    ],
)
def test_types_of_json_values(values: list[Any], expected: pa.DataType) -> None:
    assert SeenTypes.of_values(values).unified() == expected


def test_fields_keep_an_order_that_all_share() -> None:
    shared = pa.struct([("b", TEXT), ("a", TEXT)])
    assert [field.name for field in _unified(shared, shared)] == ["b", "a"]
    assert [field.name for field in _unified(shared, pa.struct([("a", TEXT)]))] == ["a", "b"]


def test_text_that_stands_for_other_values() -> None:
    assert not SeenTypes.of_values(["a", None]).is_mixed
    assert not SeenTypes().is_mixed
    assert not SeenTypes.of_values([1, 0.5]).is_mixed
    assert SeenTypes.of_values(["a", 1]).is_mixed
    assert SeenTypes.of_values([{"a": [1]}, {"a": ["b"]}]).is_mixed


@pytest.mark.more
def test_objects_with_keys_of_their_own_become_text_before_they_fill_the_memory() -> None:
    seen = [SeenTypes.of_values([{f"key{number}": 1}]) for number in range(MOST_FIELDS + 1)]
    assert len(reduce(or_, seen[:-1]).unified()) == MOST_FIELDS
    for order in (seen, seen[::-1]):
        joined = reduce(or_, [*order, *order[:10]])
        assert (joined.unified(), joined.is_mixed) == (TEXT, True)


def test_objects_used_as_maps_are_looked_at_once_and_not_once_for_every_key() -> None:
    objects = [{f"key{number}": number} for number in range(20_000)]
    started = time.process_time()
    seen = SeenTypes.of_values(objects)
    # Some milliseconds; every row for every key would be minutes.
    assert time.process_time() - started < 2
    assert (seen.unified(), seen.is_mixed) == (TEXT, True)


def test_what_is_deep_is_text() -> None:
    value: Any = 1
    type: pa.DataType = pa.int64()
    for _ in range(DEEPEST + 3):
        value, type = [value], pa.list_(type)
    assert (
        SeenTypes.of_values([value]).unified()
        == _unified(type)
        == reduce(lambda inner, _: pa.list_(inner), range(DEEPEST), TEXT)
    )


@pytest.mark.parametrize(
    ("type", "words"),
    [
        (pa.month_day_nano_interval(), "month_day_nano_interval cannot be carried"),
        (pa.run_end_encoded(pa.int32(), TEXT), "run_end_encoded.* cannot be carried"),
        (pa.list_(pa.dense_union([pa.field("a", TEXT)])), "union.* cannot be carried"),
        (pa.struct([("a", TEXT), ("a", TEXT)]), "two fields named 'a'"),
    ],
)
def test_what_cannot_be_carried(type: pa.DataType, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        SeenTypes.of_type(type)


def test_nan_is_a_number() -> None:
    assert SeenTypes.of_values([math.nan, 1]).unified() == pa.float64()
