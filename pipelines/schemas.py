"""What the parts hold: one schema for every part of a job, empty ones too."""

from typing import Literal

import pyarrow as pa

JobKind = Literal["answer", "embed"]
"""answer: id, question, context in, answers out. embed: id, text in, embeddings out."""

OUTPUT_NAMES = frozenset(("id", "answer", "score", "start", "end", "answers", "null_score", "embedding"))
"""Names that a carried column may not have."""

QUARANTINE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("file", pa.string()),
        ("place", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("row", pa.string()),
    ]
)
"""id (null where none could be read), file name, place (row in Parquet, byte in JSONL, both from 0), reason (a
`rows.Reason`), detail for people, and the raw row as text, cut to 2,000 characters."""


def answer_schema(
    carry: pa.Schema, top_k: int, embedding: tuple[int, str] | None = None, null_score: bool = False
) -> pa.Schema:
    """Schema of an answer job's parts: id, the carried columns, the answer; null score and embedding where wanted.

    top_k == 1: answer string, score float64, start and end int32 (code points of the passage); answer, start and
    end are null where the model abstains. top_k > 1: answers, a list of structs of these four.
    null_score is a float64.
    `embedding` is (dimensions, "float32" | "float16").
    """
    answer = [
        pa.field("answer", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
    ]
    found = answer if top_k == 1 else [pa.field("answers", pa.list_(pa.struct(answer)))]
    null = [pa.field("null_score", pa.float64())] if null_score else []
    vector = [] if embedding is None else [_vector(*embedding)]
    return pa.schema([pa.field("id", pa.string()), *carry, *found, *null, *vector])


def embedding_schema(carry: pa.Schema, dimensions: int, dtype: str) -> pa.Schema:
    """Schema of an embed job's parts: id, the carried columns, embedding fixed_size_list<dtype>[dimensions]."""
    return pa.schema([pa.field("id", pa.string()), *carry, _vector(dimensions, dtype)])


def _vector(dimensions: int, dtype: str) -> pa.Field:
    numbers = {"float32": pa.float32(), "float16": pa.float16()}[dtype]
    return pa.field("embedding", pa.list_(numbers, dimensions))
