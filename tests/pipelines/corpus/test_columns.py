"""Columns that are missing, of the wrong type, or named like ours."""

from typing import Any

import pyarrow as pa
import pytest

from pipelines.config.job import Columns, CorpusParameters
from pipelines.corpus.columns import carried_from_rows, carried_from_schema, check_carry, check_names, check_types
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.storage.url import Url

FILE = SourceFile(Url("/in/a.parquet"), "a.parquet", 1, "v", "parquet", None)
COLUMNS = Columns()
NOTHING = pa.schema([])
TEXT = pa.string()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"carry": ["answer"]}, "'answer' of its own"),
        ({"carry": ["embedding"]}, "'embedding' of its own"),
        ({"carry": ["_row"]}, "'_row' of its own"),
        ({"carry": ["a", "b", "a"]}, "'a' is named twice"),
        ({"carry": ["question"], "columns": {"question": "q"}}, "calls its column 'q'"),
    ],
)
def test_carried_names_that_are_taken(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        check_carry(CorpusParameters(**parameters), "answer")


def test_carried_names_that_are_free() -> None:
    check_carry(CorpusParameters(carry=("question", "context", "text")), "answer")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"id": TEXT, "questions": TEXT, "context": TEXT},
            "a.parquet: there is no column 'question'; it has 'id', 'questions', 'context'. Did you mean 'questions'? "
            "Map it: --set corpus.columns.question=questions",
        ),
        ({"question": TEXT, "x": TEXT}, "Map it: --set corpus.columns.context=NAME"),
        ({}, "it has none"),
        ({"question": pa.int64(), "context": TEXT}, "column 'question' is of type int64, and string is needed"),
        ({"question": pa.binary(), "context": TEXT}, "column 'question' is of type binary"),
        (
            {"id": pa.float64(), "question": TEXT, "context": TEXT},
            "column 'id' is of type double, and string or integer",
        ),
    ],
)
def test_parquet_columns_that_do_not_fit(fields: dict[str, pa.DataType], words: str) -> None:
    with pytest.raises(CorpusError) as raised:
        check_types(FILE, pa.schema(fields), COLUMNS, "answer", NOTHING)
    assert words in str(raised.value)


@pytest.mark.parametrize("id", [pa.string(), pa.int8(), pa.uint64(), pa.null(), pa.dictionary(pa.int8(), pa.int64())])
@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view(), pa.null()])
def test_parquet_columns_that_fit(id: pa.DataType, text: pa.DataType) -> None:
    check_types(FILE, pa.schema({"id": id, "text": text}), COLUMNS, "embed", NOTHING)


def test_carried_parquet_columns() -> None:
    schema = pa.schema({"n": pa.dictionary(pa.int8(), TEXT), "m": pa.null(), "l": pa.list_(pa.int64()), "text": TEXT})
    carry = carried_from_schema(FILE, schema, CorpusParameters(carry=("n", "m", "l")), "embed")
    assert carry == pa.schema({"n": TEXT, "m": TEXT, "l": pa.list_(pa.int64())})
    with pytest.raises(CorpusError, match=r"no column 'title'.*corpus.carry"):
        carried_from_schema(FILE, schema, CorpusParameters(carry=("title",)), "embed")
    other = pa.schema({"text": TEXT, "l": pa.struct([("a", pa.int64())])})
    with pytest.raises(CorpusError, match=r"column 'l' is of type struct"):
        check_types(FILE, other, COLUMNS, "embed", carry.remove(0).remove(0))


def test_jsonl_fields() -> None:
    fields = ("question", "context", "contexts")
    check_names(FILE, fields, COLUMNS, "answer")
    with pytest.raises(CorpusError, match=r"no column 'text'; it has 'question', 'context'.*corpus.columns.text="):
        check_names(FILE, fields, COLUMNS, "embed")
    with pytest.raises(CorpusError, match=r"no column 'x'.*corpus\.carry="):
        check_names(FILE, fields, COLUMNS, "answer", ("x",))


@pytest.mark.parametrize(
    ("values", "type"),
    [
        (["a", None], TEXT),
        (["2020-01-01"], TEXT),
        ([None, None], TEXT),
        ([1, 2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([[1], []], pa.list_(pa.int64())),
        ([1, 2, "x"], pa.int64()),
        (["a", "b", 1, None], TEXT),
        ([2**70, 2**70], TEXT),
    ],
)
def test_types_of_carried_jsonl_fields(values: list[Any], type: pa.DataType) -> None:
    rows = [{"x": value} for value in values]
    assert carried_from_rows(rows, CorpusParameters(carry=("x",)), "answer") == pa.schema({"x": type})
