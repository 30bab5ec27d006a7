"""What callers may pass, and what they are told otherwise."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from actors.parameters import EmbeddingParameters, QAParameters
from spanmill.arguments import checked, column_names, is_table, path, text_array, text_list

TEXTS = ["a", "b"]


@pytest.mark.parametrize(
    "values",
    [
        TEXTS,
        tuple(TEXTS),
        iter(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pd.Series(TEXTS, index=[7, 8]),
        pd.Index(TEXTS),
        pa.array(TEXTS),
        pa.chunked_array([["a"], ["b"]]),
    ],
    ids=lambda values: type(values).__name__,
)
def test_many_texts_come_in_many_forms(values: object) -> None:
    found = text_list(values, "texts")
    assert found == TEXTS
    assert text_array(found, "text").equals(pa.array(TEXTS, pa.string()))


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        (None, TypeError, "texts is None; give a string, or many"),
        (7, TypeError, "texts is an int; give"),
        (b"a", TypeError, r"texts is bytes; decode it: texts\.decode\(\)"),
        ({"a": 1}, TypeError, "texts is a dict; give"),
        ({"a"}, TypeError, "texts is a set; give"),
        (pd.DataFrame({"a": TEXTS}), TypeError, "texts is a DataFrame; .*one column"),
        (pa.table({"a": TEXTS}), TypeError, "texts is a Table; .*one column"),
        (np.array([TEXTS]), ValueError, r"texts is an array of shape \[1, 2\]; give one of shape \[n\]"),
        (np.array("a"), TypeError, "texts is a"),
    ],
)
def test_what_holds_no_texts_is_named(values: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        text_list(values, "texts")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (7, "text 4 is of type int; it must be a string"),
        (None, "text 4 is of type NoneType; a text is missing there: leave it out"),
        (float("nan"), "text 4 is of type float; a text is missing there"),
        (pd.NA, "text 4 is of type NAType; a text is missing there"),
        (1.5, "text 4 is of type float; it must be a string"),
        (b"a", "text 4 is of type bytes; decode it"),
    ],
)
def test_a_text_that_is_none_is_named_by_its_number(text: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        text_array(["a", text], "text", first=3)


def test_paths_are_strings_and_path_objects(tmp_path: Path) -> None:
    assert path(tmp_path, "output") == path(str(tmp_path), "output") == str(tmp_path)
    for value in (None, 7, b"a", ["a"]):
        with pytest.raises(TypeError, match=r"output is .*; give a path or URL"):
            path(value, "output")


def test_settings_say_in_plain_words_what_is_wrong() -> None:
    assert checked(QAParameters, {"top_k": np.int64(2)}).top_k == 2
    cases: list[tuple[type[Any], dict[str, Any], type[Exception], str]] = [
        (QAParameters, {"top_k": 0}, ValueError, "^top_k should be greater than or equal to 1, and is 0$"),
        (EmbeddingParameters, {"pooling": "sum"}, ValueError, "^'sum' is no pooling; there are mean, cls, max, last$"),
        (
            EmbeddingParameters,
            {"dtype": "int4"},
            ValueError,
            "^dtype should be 'float32', .* or 'binary', and is 'int4'$",
        ),
        (
            EmbeddingParameters,
            {"pool": "cls"},
            TypeError,
            "^unknown parameter pool; there are dimensions, doc_stride, ",
        ),
    ]
    for kind, values, error, words in cases:
        with pytest.raises(error, match=words):
            checked(kind, values)


def test_tables_have_named_columns() -> None:
    for table in (pd.DataFrame({"a": TEXTS}), pa.table({"a": TEXTS})):
        assert is_table(table)
        assert column_names(table) == ["a"]
    assert not any(is_table(value) for value in (TEXTS, pd.Series(TEXTS), np.array(TEXTS), {"a": TEXTS}))
