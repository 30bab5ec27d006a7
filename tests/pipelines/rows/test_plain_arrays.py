"""Dictionaries, views and extension types become plain ones, at any depth, in slices and between nulls."""

from typing import Any

import pyarrow as pa
import pytest

from pipelines.rows.plain_arrays import Lists, plain, plain_column

WORDS = ["a", None, "b" * 30, "é"]
VIEW = pa.array(WORDS, pa.string_view())
CODED = pa.array(WORDS).dictionary_encode()
CODED_VIEW = pa.DictionaryArray.from_arrays(
    pa.array([0, None, 1, 0], pa.int8()), pa.array(["a", "b"], pa.string_view())
)
TEXT = pa.string()


def _lists(child: pa.Array, kind: Any = pa.ListArray) -> pa.Array:
    return kind.from_arrays(pa.array([0, 1, 1, 4]), child, mask=pa.array([False, True, False]))


@pytest.mark.parametrize(
    ("array", "type"),
    [
        (VIEW, TEXT),
        (VIEW.cast(pa.binary_view()), pa.binary()),
        (CODED, TEXT),
        (CODED_VIEW, TEXT),
        (_lists(VIEW), pa.list_(TEXT)),
        (_lists(CODED, pa.LargeListArray), pa.large_list(TEXT)),
        (pa.array([["a"], None, ["b", None], []], pa.list_view(pa.string_view())), pa.list_(TEXT)),
        (pa.array([["a"], None, ["b", None], []], pa.large_list_view(TEXT)), pa.large_list(TEXT)),
        (pa.array([["a", "b"], None, ["b", None]], pa.list_(pa.string_view(), 2)), pa.list_(TEXT, 2)),
        (pa.array([{"x": "a"}, None, {"x": None}], pa.struct([("x", pa.string_view())])), pa.struct([("x", TEXT)])),
        (pa.array([[("a", "b")], None, [("c", None)]], pa.map_(TEXT, pa.string_view())), pa.map_(TEXT, TEXT)),
        (pa.array([[{"x": ["a"]}], None], pa.list_(pa.struct([("x", pa.list_(pa.string_view()))]))), None),
        (pa.array(["[]", None], TEXT).cast(pa.json_()), TEXT),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)).cast(pa.fixed_shape_tensor(pa.int8(), [2])), None),
    ],
)
def test_values_are_the_same(array: pa.Array, type: pa.DataType | None) -> None:
    for piece in (array, array.slice(1), array.slice(2, 1), array.slice(0, 0)):
        found = plain(piece)
        found.validate(full=True)
        expected = piece.storage if isinstance(piece, pa.ExtensionArray) else piece
        assert found.to_pylist() == expected.to_pylist()
        assert type is None or found.type == type
        assert plain(found) is found


def test_plain_arrays_are_not_touched() -> None:
    uuids = pa.array([b"x" * 16], pa.uuid())
    for array in (pa.array([[1]]), uuids, _lists(pa.array(WORDS))):
        assert plain(array) is array


def test_columns() -> None:
    column = pa.chunked_array([VIEW, VIEW.slice(2)])
    assert plain_column(column).to_pylist() == column.to_pylist()
    assert plain_column(pa.chunked_array([], pa.string_view())) == pa.chunked_array([[]], TEXT)


def test_bytes_that_are_not_utf8_stay() -> None:
    view = pa.array([b"\xff", b"a", None, b"b"], pa.binary_view())
    found = plain(_lists(view.cast(pa.string_view(), safe=False)))
    assert found.flatten().view(pa.binary()).to_pylist()[0] == b"\xff"


def test_maps_between_nulls_that_hold_something() -> None:
    """A null may have entries behind it, which count for nothing."""
    full = pa.MapArray.from_arrays(pa.array([0, 1, 3, 4], pa.int32()), list("abcd"), [1, 2, 3, 4])
    maps = pa.MapArray.from_arrays(full.offsets, full.keys, full.items, mask=pa.array([False, True, False]))
    for piece in (maps, maps.slice(1), maps.slice(2)):
        lists = Lists.of_map(piece)
        assert lists.as_map(*lists.child.flatten()).to_pylist() == piece.to_pylist()
