"""The schema of the parts, and what reads the same list of columns."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from actors.engine import output_columns
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import OUTPUT_COLUMNS, OutputColumn
from actors.model_actor import ModelActor
from actors.models.loading import load_spec
from actors.parameters import BatchingParameters, ChunkParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.tokenization.preprocess import prepare_pairs
from pipelines.config.job import CorpusParameters
from pipelines.corpus.columns import check_carry
from pipelines.errors import CorpusError
from pipelines.schemas import output_names, output_schema

README = Path(__file__).parents[2] / "README.md"
CARRY = pa.schema([("title", pa.string())])


def test_one_answer() -> None:
    schema = output_schema(CARRY, Wanted(QAParameters()), 384)
    assert schema.names == ["id", "title", "answer", "score", "start", "end"]
    assert schema.field("score").type == pa.float64()
    assert schema.field("start").type == pa.int32()


def test_several_answers_and_an_embedding() -> None:
    schema = output_schema(CARRY, Wanted(QAParameters(top_k=3), EmbeddingParameters(dtype="float16")), 384)
    assert schema.names == ["id", "title", "answers", "embedding"]
    answer = pa.struct([("answer", pa.string()), ("score", pa.float64()), ("start", pa.int32()), ("end", pa.int32())])
    assert schema.field("answers").type == pa.list_(answer)
    assert schema.field("embedding").type == pa.list_(pa.float16(), 384)


def test_a_null_score() -> None:
    schema = output_schema(CARRY, Wanted(QAParameters(null_score=True), EmbeddingParameters()), 2)
    assert schema.names == ["id", "title", "answer", "score", "start", "end", "null_score", "embedding"]
    assert schema.field("null_score").type == pa.float64()


def test_embeddings() -> None:
    schema = output_schema(pa.schema([]), Wanted(embedding=EmbeddingParameters()), 8)
    assert schema == pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float32(), 8))])


@pytest.mark.parametrize(
    ("keys", "fields"),
    [
        ({"dimensions": 3}, [("embedding", pa.float32(), 3)]),
        ({"dtype": "int8"}, [("embedding", pa.int8(), 20)]),
        ({"dtype": "binary"}, [("embedding", pa.uint8(), 3)]),
        ({"dtype": "binary", "dimensions": 8}, [("embedding", pa.uint8(), 1)]),
        ({"pooling": ["max"]}, [("embedding", pa.float32(), 20)]),
        ({"pooling": ["max", "mean"]}, [("embedding_mean", pa.float32(), 20), ("embedding_max", pa.float32(), 20)]),
        ({"of": "question"}, [("question_embedding", pa.float32(), 20)]),
        (
            {"of": ["question", "passage"], "pooling": ["cls", "last"]},
            [
                (f"{prefix}embedding_{pooling}", pa.float32(), 20)
                for prefix in ("", "question_")
                for pooling in ("cls", "last")
            ],
        ),
    ],
)
def test_vectors_of_every_kind(keys: dict[str, object], fields: list[tuple[str, pa.DataType, int]]) -> None:
    embedding = EmbeddingParameters.model_validate(keys)
    schema = output_schema(pa.schema([]), Wanted(QAParameters(), embedding), 20)
    expected = [pa.field(name, pa.list_(type, width)) for name, type, width in fields]
    assert list(schema)[5:] == expected
    assert embedding.columns == tuple(field.name for field in expected)


def test_chunks() -> None:
    schema = output_schema(CARRY, Wanted(embedding=EmbeddingParameters()), 8, chunk=ChunkParameters(text=True))
    assert schema.names == ["id", "document_id", "title", "chunk", "start", "end", "text", "embedding"]
    assert schema.field("chunk").type == schema.field("start").type == schema.field("end").type == pa.int32()
    assert "text" not in output_schema(CARRY, Wanted(embedding=EmbeddingParameters()), 8, chunk=ChunkParameters()).names


def test_names_that_are_taken() -> None:
    names = ("id", "answer", "score", "start", "end", "answers", "null_score", "embedding")
    assert output_names() == frozenset(names)
    assert output_names(ChunkParameters()) == frozenset((*names, "document_id", "chunk"))
    assert output_names(ChunkParameters(text=True)) == frozenset((*names, "document_id", "chunk", "text"))


def test_the_readme_names_every_column() -> None:
    (section,) = re.findall(r"^## What comes out$(.*?)^## ", README.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    table = [line for line in section.splitlines() if line.startswith("|")]
    names = {column.name for column in OUTPUT_COLUMNS} | output_names(ChunkParameters(text=True))
    assert names - set(re.findall(r"`(\w+)`", "\n".join(table))) == set()


@pytest.fixture
def characters(monkeypatch: pytest.MonkeyPatch) -> OutputColumn:
    """A column of another package: how long an answer is, in code points."""
    column = OutputColumn(
        "characters",
        is_wanted=lambda wanted: wanted.qa is not None and wanted.qa.top_k == 1,
        type=lambda wanted, hidden_size: pa.int32(),
        values=lambda results, wanted: pc.utf8_length(results.answers.text) if results.answers else None,
    )
    monkeypatch.setattr(output_columns, "OUTPUT_COLUMNS", (*OUTPUT_COLUMNS, column))
    return column


def test_a_column_that_is_added_is_in_the_schema_and_its_name_is_taken(characters: OutputColumn) -> None:
    schema = output_schema(CARRY, Wanted(QAParameters()), 384)
    assert schema.names == ["id", "title", "answer", "score", "start", "end", "characters"]
    assert schema.field("characters").type == pa.int32()
    assert "characters" not in output_schema(CARRY, Wanted(QAParameters(top_k=2)), 384).names
    with pytest.raises(CorpusError, match="'characters' of its own"):
        check_carry(CorpusParameters(carry=("characters",)), "answer")


def test_a_column_that_is_added_is_what_the_model_actor_gives(characters: OutputColumn, untrained_model: Path) -> None:
    wanted = Wanted(QAParameters())
    texts = [["Who?", "How many goats?"], ["Agnes Bell lit it in 1837.", "Ada keeps three goats."]]
    questions, contexts = (pa.array(column, pa.string()) for column in texts)
    prepared, _ = prepare_pairs(load_spec(untrained_model), QAParameters(), questions, contexts)
    actor = ModelActor(ModelParameters(name=str(untrained_model), device="cpu"), BatchingParameters(), True)
    table, _ = actor.process(prepared.to_ipc(), wanted)
    assert table.schema == output_schema(pa.schema([]), wanted, actor.engine.hidden_size).remove(0)
    assert table["characters"].to_pylist() == [len(answer) for answer in table["answer"].to_pylist()]
