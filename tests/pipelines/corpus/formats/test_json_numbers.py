"""NaN and Infinity are null; whatever else is no JSON stays none."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.formats.json_numbers import without_non_numbers

VALUES = st.recursive(
    st.none() | st.text() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(one) for one in value]
    if isinstance(value, dict):
        return {name: _strict(one) for name, one in value.items()}
    return value if not isinstance(value, float) or math.isfinite(value) else None


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_python_writes_is_read_without_them(row: dict[str, Any]) -> None:
    odd = tuple(name for name, value in row.items() if _strict(value) != value)
    assert without_non_numbers(json.dumps(row)) == ((_strict(row), odd) if odd else None)


def test_a_number_beyond_a_double() -> None:
    assert without_non_numbers('{"a": 1e999, "b": [-Infinity, 1]}') == ({"a": None, "b": [None, 1]}, ("a", "b"))


@pytest.mark.parametrize("text", ['{"a": NaN', '{"a": nan}', '{"a": "x\n", "b": NaN}', "NaN NaN"])
def test_other_errors_stay_errors(text: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        without_non_numbers(text)


def test_no_object() -> None:
    assert without_non_numbers("NaN") is without_non_numbers("[NaN]") is None
