"""Counts of values that are not written as they are, and what is said of them."""

from collections import Counter

import pyarrow as pa
import pytest
import yaml

from pipelines.config.job import AnswerConfig
from pipelines.rows.misfits import Outcome, advice, describe, mend, misfits_of, with_misfits

COUNTS = Counter({("zip", Outcome.NULL.value): 2, ("é: x", Outcome.TEXT.value): 1})


def test_counts_travel_with_a_table() -> None:
    table = pa.table({"a": [1]})
    assert misfits_of(with_misfits(table, COUNTS)) == COUNTS
    assert misfits_of(table) == misfits_of(with_misfits(table, Counter())) == Counter()


@pytest.mark.parametrize("name", ["zip", "a: b", "null", "{x}", "é", "a" * 200, "1"])
def test_the_mend_is_a_line_of_a_config(name: str) -> None:
    line = mend(name, Outcome.NULL)
    assert "\n" not in line
    [(key, types)] = yaml.safe_load(line).items()
    assert key == "corpus.types"
    AnswerConfig.model_validate({"corpus": {"carry": [name], "types": types}})
    assert advice([(name, Outcome.NULL)]).endswith(f"\n  {line}")


def test_one_line_mends_all_columns() -> None:
    found = [("b", Outcome.TEXT), ("a: x", Outcome.NULL), ("id", Outcome.DEFAULT_ID), ("b", Outcome.NULL)]
    what, line = advice(found).split("\n")
    assert what == "To have these columns as text, start anew with:"
    assert yaml.safe_load(line) == {"corpus.types": {"a: x": "string", "b": "string"}}
    assert advice([("b", Outcome.TEXT)]).startswith("To say in the next job that this is meant")
    assert advice([("id", Outcome.DEFAULT_ID), ("n", Outcome.NO_NUMBER)]) == advice([]) == ""


def test_what_is_said() -> None:
    assert mend("zip", Outcome.TEXT) == "corpus.types: {zip: string}"
    assert describe("zip", Outcome.NULL, 1234).startswith(
        "'zip': 1,234 values do not fit the column's type and are null"
    )
    assert describe("zip", Outcome.TEXT, 1).startswith("'zip': 1 value that is no text is written as text")
    assert "file:row or file@byte" in describe("id", Outcome.DEFAULT_ID, 1)
    assert describe("n", Outcome.NO_NUMBER, 2).startswith("'n': 2 values are or hold NaN or Infinity")
    assert mend("id", Outcome.DEFAULT_ID) == mend("n", Outcome.NO_NUMBER) == ""
