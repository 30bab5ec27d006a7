"""Whole columns convert at once; bad values are found and named."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.rows.column_cast import cast_column


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1", "23", None, "x", ""])))
def test_bad_values_become_null_and_are_named(values: list[str | None]) -> None:
    column = pa.chunked_array([values], pa.string())
    settled, errors = cast_column(column, lambda part: part.cast(pa.int64()), pa.int64())
    good = {"1": 1, "23": 23}
    assert settled.to_pylist() == [good.get(value) if value else None for value in values]
    assert sorted(errors) == [number for number, value in enumerate(values) if value in ("x", "")]
    assert all("Failed to parse" in error for error in errors.values())


def test_a_good_column_is_converted_in_one_call() -> None:
    calls = []

    def convert(part: list[int]) -> pa.Array:
        calls.append(part)
        return pa.array(part)

    cast_column([1, 2, 3], convert, pa.int64())
    assert calls == [[1, 2, 3]]


def test_other_errors_pass() -> None:
    def broken(_: object) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        cast_column([1], broken, pa.int64())
