"""Prepares texts that get a result for each of their chunks, and says where these chunks stand in which row."""

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa

from actors.arrays import Ints, Longs, segments
from actors.errors import ModelError
from actors.parameters import ChunkParameters, EmbeddingParameters
from actors.tokenization.chunks import TextChunks, cut_chunks
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import (
    Rejected,
    Rejection,
    distinct,
    embedding_window_size,
    prepare_texts,
    tokens_with_places,
    windows_of_texts,
)
from actors.tokenization.tokenized import Tokenized, TokenRanges

CHUNK_SCHEMA = pa.schema(
    [
        ("row", pa.int32()),
        ("key", pa.string()),
        ("chunk", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("text", pa.string()),
    ]
)
"""Chunks of rows, row after row and in reading order: the row that each is of, counting those that were not rejected;
what tells it from the row's other chunks, whatever they are; its number in the row, from 0; the code points of the
row's text where it begins and ends; and its text, null where the config does not ask for it."""

_DIGEST_BYTES = 8


def check_chunks_fit(spec: EncoderSpec, embedding: EmbeddingParameters, chunk: ChunkParameters) -> None:
    """Raises ModelError where chunks that are embedded as texts of their own may be longer than a window."""
    longest = embedding_window_size(spec, embedding).max_seq_len
    room = longest - spec.single.specials
    if chunk.context == "chunk" and chunk.tokens > room:
        raise ModelError(
            f"chunk.tokens is {chunk.tokens}, but a window of {longest} tokens has only {room} for text, and "
            "chunk.context: chunk embeds each chunk in one; lower chunk.tokens, raise embedding.max_seq_len where the "
            "model takes more, or set chunk.context: document"
        )


def prepare_chunks(
    spec: EncoderSpec, embedding: EmbeddingParameters, chunk: ChunkParameters, texts: pa.StringArray
) -> tuple[Tokenized, Rejected, pa.Table]:
    """Windows of texts to embed chunk by chunk; rows with the same text share its chunks' results.

    Args:
        texts: [R] strings without nulls.

    Returns:
        Windows with a row for every chunk, the rows of `texts` that have no chunk, and the chunks as CHUNK_SCHEMA.
    """
    text_of, distinct_texts = distinct(texts)
    passage, places = tokens_with_places(spec, distinct_texts)
    chunks = cut_chunks(chunk, distinct_texts, passage, places)
    pieces = _pieces(distinct_texts, chunks)
    if chunk.context == "chunk":
        prepared, empty = prepare_texts(spec, embedding, pieces)
        # What is nothing but blanks to the tokenizer when it stands alone.
        kept = np.ones(len(chunks), dtype=bool)
        kept[empty.rows] = False
        chunks, pieces = chunks.only(kept), pieces.filter(pa.array(kept))
        results = prepared.row_owner
    else:
        prepared, _ = windows_of_texts(spec, embedding, text_of, passage)
        owner_of_text = np.cumsum(passage.lengths > 0, dtype=np.int32) - 1
        ranges = TokenRanges(owner_of_text[chunks.text], chunks.first, chunks.stop)
        prepared, results = replace(prepared, chunks=ranges), np.arange(len(chunks), dtype=np.int32)
    per_text = np.bincount(chunks.text, minlength=len(distinct_texts))
    per_row = per_text[text_of]
    # Of every chunk of every row: which it is among those of the distinct texts.
    chosen = segments((np.cumsum(per_text) - per_text)[text_of], per_row)
    table = _table(chunks, pieces, chosen, per_row[per_row > 0], chunk.text)
    rejected = np.flatnonzero(per_row == 0).astype(np.int32)
    reasons = [Rejection.NO_TOKENS] * len(rejected)
    return replace(prepared, row_owner=results[chosen]), Rejected(rejected, reasons), table


def _table(chunks: TextChunks, pieces: pa.StringArray, chosen: Longs, per_row: Longs, with_text: bool) -> pa.Table:
    """CHUNK_SCHEMA of the chunks `chosen`, [C], of rows that have so many each, [R]."""
    number = np.arange(len(chosen)) - np.repeat(np.cumsum(per_row) - per_row, per_row)
    columns = {
        "row": np.repeat(np.arange(len(per_row)), per_row).astype(np.int32),
        "key": pa.array(_keys(chunks.text, pieces), pa.string()).take(pa.array(chosen)),
        "chunk": number.astype(np.int32),
        "start": chunks.start[chosen],
        "end": chunks.end[chosen],
        "text": pieces.take(pa.array(chosen)) if with_text else pa.nulls(len(chosen), pa.string()),
    }
    return pa.table(columns, schema=CHUNK_SCHEMA)


def _pieces(texts: pa.StringArray, chunks: TextChunks) -> pa.StringArray:
    strings: list[str] = texts.to_pylist()
    places = zip(chunks.text.tolist(), chunks.start.tolist(), chunks.end.tolist(), strict=True)
    return pa.array([strings[text][start:end] for text, start, end in places], pa.string())


def _keys(text_of: Ints, pieces: pa.StringArray) -> list[str]:
    """What tells each chunk from the others of its text: a digest of its own text (BLAKE2b, 64 bits, in hexadecimal),
    and from the second one of equal text on how many it makes.
    """
    seen = Counter[tuple[int, str]]()
    keys = []
    for text, piece in zip(text_of.tolist(), pieces.to_pylist(), strict=True):
        digest = hashlib.blake2b(piece.encode(), digest_size=_DIGEST_BYTES).hexdigest()
        seen[text, digest] += 1
        count = seen[text, digest]
        keys.append(digest if count == 1 else f"{digest}-{count}")
    return keys
