"""What the parts hold: one schema for every part of a job, empty ones too."""

from typing import Literal

import pyarrow as pa

from actors.engine import output_columns
from actors.engine.inference_task import Wanted
from actors.engine.output_columns import wanted_columns
from actors.parameters import ChunkParameters
from actors.tokenization.chunked_texts import CHUNK_SCHEMA

JobKind = Literal["answer", "embed"]
"""answer: id, question, context in, answers out. embed: id, text in, embeddings out."""

_ID = pa.field("id", pa.string())

DOCUMENT_ID = pa.field("document_id", pa.string())
"""The id of the text that a chunk is of, beside the chunk's own."""

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


def output_schema(
    carry: pa.Schema, wanted: Wanted, hidden_size: int, layers: int = 0, chunk: ChunkParameters | None = None
) -> pa.Schema:
    """Schema of a job's parts: id, the carried columns, and those of `actors.engine.output_columns` that are wanted.

    Args:
        hidden_size: D of the model.
        layers: L of the model; only columns that look into them need it.
        chunk: of a job whose rows are chunks: where these stand comes before the model's columns.
    """
    added = [pa.field(column.name, column.full_type(wanted, hidden_size, layers)) for column in wanted_columns(wanted)]
    if chunk is None:
        return pa.schema([_ID, *carry, *added])
    places = [CHUNK_SCHEMA.field(name) for name in chunk_names(chunk)]
    return pa.schema([_ID, DOCUMENT_ID, *carry, *places, *added])


def chunk_names(chunk: ChunkParameters) -> tuple[str, ...]:
    """Names of the columns that say where a chunk stands in its text."""
    return ("chunk", "start", "end", "text") if chunk.text else ("chunk", "start", "end")


def empty_table(schema: pa.Schema) -> pa.Table:
    """No rows. Arrow's own `Schema.empty_table` knows no extension types within lists and structs."""
    return pa.table([pa.nulls(0, field.type) for field in schema], schema=schema)


def output_names(chunk: ChunkParameters | None = None) -> frozenset[str]:
    """Names that no carried column may have in a job without chunks, or with them, whatever else it writes.

    Those that are written by name alone (`OutputColumn.by_name`) came later, and jobs carry columns of these names; the
    config refuses a job that writes both.
    """
    names = (_ID.name, *(column.name for column in output_columns.OUTPUT_COLUMNS if not column.by_name))
    return frozenset(names if chunk is None else (*names, DOCUMENT_ID.name, *chunk_names(chunk)))
