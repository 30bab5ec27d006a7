"""Arrow columns as JSON: what `json.loads` reads from it is what the table holds."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.serving.gateway.protocols.bodies.arrow_json import json_text, list_json, rows_json

PLACE = pa.struct([("text", pa.string()), ("start", pa.int32())])
TYPES: dict[str, pa.DataType] = {
    "whole": pa.int32(),
    "small": pa.int8(),
    "yes": pa.bool_(),
    "text": pa.string(),
    "places": pa.list_(PLACE),
    "vectors": pa.list_(pa.list_(pa.float32(), 2)),
    "layers": pa.list_(pa.list_(pa.float32(), 2), 3),
    'named "so"': pa.struct([("weights", pa.list_(pa.float64())), ("none", pa.list_(pa.int16()))]),
}
SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)
DOUBLE = st.floats(allow_nan=False, allow_infinity=False)


def _optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


VALUES = {
    "whole": _optional(st.integers(-(2**31), 2**31 - 1)),
    "small": _optional(st.integers(-128, 127)),
    "yes": _optional(st.booleans()),
    "text": _optional(st.text(st.characters(codec="utf-8"), max_size=9)),
    "places": _optional(
        st.lists(
            _optional(
                st.fixed_dictionaries(
                    {"text": st.text(st.characters(codec="utf-8"), max_size=4), "start": _optional(st.integers(0, 9))}
                )
            ),
            max_size=3,
        )
    ),
    "vectors": _optional(st.lists(st.lists(SINGLE, min_size=2, max_size=2), max_size=3)),
    "layers": _optional(st.lists(st.lists(SINGLE, min_size=2, max_size=2), min_size=3, max_size=3)),
    'named "so"': _optional(st.fixed_dictionaries({"weights": st.lists(DOUBLE, max_size=3), "none": st.just(None)})),
}


@given(rows=st.lists(st.fixed_dictionaries(VALUES), max_size=5), skipped=st.integers(0, 2))
def test_what_is_read_back_is_what_the_table_holds(rows: list[dict[str, Any]], skipped: int) -> None:
    table = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()})
    # A slice begins in the middle of its buffers.
    part = table.slice(skipped)
    assert _single(json.loads(rows_json(part))) == _single(part.to_pylist())


def _single(content: Any) -> Any:
    """With numbers as float32 has them: those of float64 are compared in their own test."""
    if isinstance(content, dict):
        return {name: _single(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_single(value) for value in content]
    with np.errstate(over="ignore"):
        return np.float32(content) if isinstance(content, float | int) else content


def test_numbers_have_no_more_digits_than_they_need() -> None:
    numbers = [0.1, 1 / 3, -0.0, 5.0, 1e-7, 1e20]
    assert list_json(pa.array(numbers, pa.float32())) == b"[0.1,0.33333334,-0.0,5.0,1e-7,1e+20]"
    assert json.loads(list_json(pa.array(numbers, pa.float64()))) == numbers
    half = np.array(numbers[:4], np.float16)
    assert json.loads(list_json(pa.array(half))) == pytest.approx(half.tolist(), rel=1e-6)
    assert len(list_json(pa.array(half))) < 40


def test_nulls_at_every_depth() -> None:
    values = pa.array([None, [], [None, [1.5, None]]], pa.list_(pa.list_(pa.float32(), 2)))
    assert json_text(values).to_pylist() == ["null", "[]", "[null,[1.5,null]]"]


def test_no_rows_and_no_columns() -> None:
    assert rows_json(pa.table({"a": pa.array([], pa.int32())})) == b"[]"
    assert rows_json(pa.table({"a": [1, 2]}).select([])) == b"[{},{}]"


def test_a_type_without_a_form_is_named() -> None:
    with pytest.raises(TypeError, match="timestamp"):
        list_json(pa.array([1], pa.timestamp("s")))
