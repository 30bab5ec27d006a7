"""The schema of the parts."""

import pyarrow as pa

from pipelines.schemas import answer_schema, embedding_schema

CARRY = pa.schema([("title", pa.string())])


def test_one_answer() -> None:
    schema = answer_schema(CARRY, top_k=1)
    assert schema.names == ["id", "title", "answer", "score", "start", "end"]
    assert schema.field("score").type == pa.float64()
    assert schema.field("start").type == pa.int32()


def test_several_answers_and_an_embedding() -> None:
    schema = answer_schema(CARRY, top_k=3, embedding=(384, "float16"))
    assert schema.names == ["id", "title", "answers", "embedding"]
    answer = pa.struct([("answer", pa.string()), ("score", pa.float64()), ("start", pa.int32()), ("end", pa.int32())])
    assert schema.field("answers").type == pa.list_(answer)
    assert schema.field("embedding").type == pa.list_(pa.float16(), 384)


def test_a_null_score() -> None:
    schema = answer_schema(CARRY, top_k=1, embedding=(2, "float32"), null_score=True)
    assert schema.names == ["id", "title", "answer", "score", "start", "end", "null_score", "embedding"]
    assert schema.field("null_score").type == pa.float64()


def test_embeddings() -> None:
    schema = embedding_schema(pa.schema([]), 8, "float32")
    assert schema == pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float32(), 8))])
