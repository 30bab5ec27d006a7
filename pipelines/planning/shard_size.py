"""Chooses the rows of a shard: about a minute of an actor's work, within limits of memory and number of files."""

import math

_SECONDS = 60.0
"""What an actor should work on a shard: long against the cost of handing it over, short against losing it."""
_USUAL_ROWS = 4096
"""Instead, where nobody knows how fast the model is."""
_USUAL_SHARDS, _FEWEST_ROWS = 128, 64
"""A small corpus is shared out all the same, but not into crumbs."""
_WORTH_SECONDS, _WORTH_ROWS, _SHARDS_AT_LEAST = 2.0, 2048, 8
"""Handing a shard over costs some tens of milliseconds, so it should be worth so long, or hold so many rows."""
_MOST_FILES = 100_000
"""Listing more parts than that would take minutes."""
_MOST_BYTES = 16 << 20
"""Text of a shard: while it is tokenised, it takes some thirty times that."""
_MOST_ANSWERS = 1 << 18
"""Of a shard: each is some 200 bytes on its way to the part."""
_MOST_COLUMN_BYTES = 64 << 20
"""Of token vectors, attention and the like: on their way to the part there are some copies of them."""
_MOST_CHUNKS = 1 << 15
"""Of a shard: each brings a vector, of some kB."""
_TOKEN_BYTES = 4.5
"""Of English in a WordPiece vocabulary; only the sizes of shards and samples hang on it."""


def tokens_of(row_bytes: float) -> float:
    """Tokens of a row, guessed from its text; at least 1."""
    return max(row_bytes / _TOKEN_BYTES, 1.0)


def choose_shard_rows(
    rows: int,
    row_bytes: float,
    tokens_per_second: float | None,
    answers: int = 1,
    column_bytes: float = 0.0,
    chunk_tokens: int | None = None,
) -> int:
    """Rows of a shard, for about a minute of one actor's time.

    Args:
        rows: of the corpus, or about.
        row_bytes: text of a row, on average.
        tokens_per_second: of one actor, predicted; None where that is not known.
        answers: that a row may get, `qa.top_k`.
        column_bytes: of a row's columns that `output.columns` alone names.
        chunk_tokens: by which each chunk of a row goes on from the one before; None where a row is not cut into chunks.
    """
    tokens = tokens_of(row_bytes)
    pace = _USUAL_ROWS / _SECONDS if tokens_per_second is None else tokens_per_second / tokens
    by_time = _octave(_SECONDS * pace)
    worth_it = min(_octave(_WORTH_SECONDS * pace), _WORTH_ROWS, rows // _SHARDS_AT_LEAST)
    shared_out = max(rows // _USUAL_SHARDS, worth_it, _FEWEST_ROWS)
    few_files = -(-rows // _MOST_FILES)
    by_memory = int(_MOST_BYTES / max(row_bytes, 1.0))
    if answers > 1:
        by_memory = min(by_memory, _MOST_ANSWERS // answers)
    if column_bytes:
        by_memory = min(by_memory, int(_MOST_COLUMN_BYTES / column_bytes))
    if chunk_tokens is not None:
        by_memory = min(by_memory, int(_MOST_CHUNKS / max(tokens / chunk_tokens, 1.0)))
    return max(min(max(min(by_time, shared_out), few_files), by_memory), 1)


def _octave(rows: float) -> int:
    # Two drivers that time the model a little differently should still cut the same shards.
    return int(2 ** round(math.log2(max(rows, 1.0))))
