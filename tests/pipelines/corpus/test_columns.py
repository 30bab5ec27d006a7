"""Columns that are missing, of the wrong type, or named like ours."""

import json
import shlex
from typing import Any

import pyarrow as pa
import pytest

from actors.parameters import ChunkParameters
from pipelines.config.job import AnswerConfig, Columns, CorpusParameters
from pipelines.config.loader import load_config
from pipelines.corpus.columns import check_carried, check_carry, check_names, check_types
from pipelines.corpus.source_file import SourceFile
from pipelines.errors import CorpusError
from pipelines.storage.url import Url

FILE = SourceFile(Url("/in/a.parquet"), "a.parquet", 1, "v", "parquet", None)
COLUMNS = Columns()
TEXT = pa.string()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"carry": ["answer"]}, "'answer' of its own"),
        ({"carry": ["embedding"]}, "'embedding' of its own"),
        ({"carry": ["_row"]}, "'_row' of its own"),
        ({"carry": ["a", "b", "a"]}, "'a' is named twice"),
        ({"carry": ["question"], "columns": {"question": "q"}}, "calls its column 'q'"),
        ({"carry": ["question"], "types": {"question": "int64"}}, "'question' is a text of the job"),
    ],
)
def test_carried_names_that_are_taken(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        check_carry(CorpusParameters(**parameters), "answer")


@pytest.mark.parametrize(
    ("name", "chunk"),
    [
        ("chunk", ChunkParameters()),
        ("document_id", ChunkParameters()),
        ("start", ChunkParameters()),
        ("text", ChunkParameters(text=True)),
    ],
)
def test_carried_names_that_chunks_take(name: str, chunk: ChunkParameters) -> None:
    with pytest.raises(CorpusError, match=f"{name!r} of its own"):
        check_carry(CorpusParameters(carry=(name,)), "embed", chunk)


def test_carried_names_that_are_free() -> None:
    check_carry(CorpusParameters(carry=("question", "context", "text")), "answer")
    check_carry(CorpusParameters(carry=("chunk", "document_id", "text")), "embed")
    check_carry(CorpusParameters(carry=("text",)), "embed", ChunkParameters())


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
    ],
)
def test_parquet_columns_that_do_not_fit(fields: dict[str, pa.DataType], words: str) -> None:
    with pytest.raises(CorpusError) as raised:
        check_types(FILE, pa.schema(fields), COLUMNS, "answer")
    assert words in str(raised.value)


@pytest.mark.parametrize("id", [pa.string(), pa.float64(), pa.uuid(), pa.list_(pa.int8())])
@pytest.mark.parametrize(
    "text", [pa.string(), pa.large_string(), pa.string_view(), pa.null(), pa.dictionary(pa.int8(), pa.large_string())]
)
def test_parquet_columns_that_fit(id: pa.DataType, text: pa.DataType) -> None:
    check_types(FILE, pa.schema({"id": id, "text": text}), COLUMNS, "embed")


def test_jsonl_fields() -> None:
    fields = ("question", "context", "contexts")
    check_names(FILE, fields, COLUMNS, "answer")
    with pytest.raises(CorpusError, match=r"no column 'text'; it has 'question', 'context'.*corpus.columns.text="):
        check_names(FILE, fields, COLUMNS, "embed")
    with pytest.raises(CorpusError, match=r"no column 'x'.*corpus\.carry="):
        check_carried(FILE, fields, ("context", "x"))


@pytest.mark.parametrize("name", ["late", "a: b", "it's", "null", "é"])
def test_a_column_that_comes_late_is_carried_with_the_words_of_the_error(name: str) -> None:
    with pytest.raises(CorpusError, match="if it comes later in the files, give its type: --set ") as raised:
        check_carried(FILE, ("question",), (name,), is_sampled=True)
    words = shlex.split(str(raised.value).rpartition("give its type: ")[2])
    carry = f"corpus.carry={json.dumps([name])}"
    assert load_config(AnswerConfig, None, [carry, words[1]]).corpus.types == {name: "string"}
