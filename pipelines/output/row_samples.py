"""A few rows of a job with their texts, for its report: chosen while shards are computed, and kept in their receipts.

What it costs is bounded whatever the corpus: some dozens of shards, spread over the job by their numbers, give some
rows each, and of a text only the surroundings of its answer are kept. The same job gives the same rows.
"""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Flags, Floats
from actors.engine.decoding.compact_vectors import directions, in_float_type
from pipelines.output.parts import ShardId

MOST_SHARDS = 64
"""Shards of a job that give samples, about."""
_MOST_TEXTS = 256
"""Texts of an embedding job that are kept with their vectors, about."""
_MOST_BYTES = 4 << 20
"""Of texts that one shard looks at, unless a single one is longer."""
_EXTREMES, _RANDOM = 4, 6
"""Rows of a shard that are kept: of the best and of the worst score, and by chance."""
_AROUND = 180
"""Characters of a passage that are kept on each side of its answer."""
_LONGEST = 360
"""Characters of a question, of an answer, and of a text without one."""

CANDIDATE_SCHEMA = pa.schema(
    [("row", pa.int64()), ("id", pa.string()), ("question", pa.string()), ("text", pa.string())]
)
"""row: its place among the shard's rows. question: null in an embedding job."""


@dataclass(frozen=True)
class RowSample:
    """A row as the report shows it. Its texts come from the input: escape them wherever they are shown."""

    id: str | None
    question: str | None
    """None in an embedding job."""
    before: str
    """The passage before the answer; all that is kept of a text without an answer."""
    answer: str | None
    """None where the model abstains, and in an embedding job."""
    after: str
    starts_earlier: bool
    """The passage begins before `before`."""
    goes_on: bool
    """The passage goes on after `after`."""
    score: float | None
    """None in an embedding job."""
    by_chance: bool
    """Chosen without a look at its score."""
    vector: str = ""
    """Its embedding, the first of several, float16 in base64, without its length; empty beside answers."""

    def embedding(self) -> Floats:
        """[D] float32."""
        return np.frombuffer(base64.b64decode(self.vector), np.float16).astype(np.float32)


@dataclass(frozen=True)
class ShardSamples:
    """What one shard gives, or several together."""

    looked_at: int = 0
    """Rows that the best and the worst were chosen from."""
    rows: tuple[RowSample, ...] = ()

    @classmethod
    def of(cls, candidates: pa.Table, answers: pa.Table | None, vectors: pa.ChunkedArray | None) -> "ShardSamples":
        """Chooses among the candidates of a shard.

        Args:
            candidates: what `Sampling.candidates` gave.
            answers: columns answer, score, start and end of every row of the shard; None in an embedding job.
            vectors: the embeddings of every row of an embedding job.
        """
        if not len(candidates):
            return cls()
        if answers is None:
            return cls(len(candidates), _embedded(candidates, vectors))
        found = answers.take(candidates["row"])
        scores = found["score"].to_numpy()
        answered = np.flatnonzero(found["answer"].is_valid().to_numpy())
        by_score = answered[np.argsort(-scores[answered], kind="stable")]
        extremes = [*by_score[:_EXTREMES].tolist(), *by_score[-_EXTREMES:].tolist()]
        kept = list(dict.fromkeys([*range(min(_RANDOM, len(found))), *extremes]))
        rows = zip(kept, candidates.take(kept).to_pylist(), found.take(kept).to_pylist(), strict=True)
        return cls(len(candidates), tuple(_answered(row, best, number < _RANDOM) for number, row, best in rows))

    @staticmethod
    def joined(pieces: Sequence["ShardSamples"]) -> "ShardSamples":
        """Of the pieces of a shard, in order."""
        rows = tuple(row for piece in pieces for row in piece.rows)
        return ShardSamples(sum(piece.looked_at for piece in pieces), rows)

    def to_json(self) -> str:
        """Empty where there is nothing."""
        return orjson.dumps(asdict(self)).decode() if self.rows else ""

    @classmethod
    def from_json(cls, text: str) -> "ShardSamples":
        """The inverse of `to_json`."""
        if not text:
            return cls()
        found = orjson.loads(text)
        return cls(found["looked_at"], tuple(RowSample(**row) for row in found["rows"]))


@dataclass(frozen=True)
class Sampling:
    """Which shards of a job give samples."""

    every: int = 0
    """One shard of so many; 0: none."""
    texts: int = 0
    """Texts that such a shard of an embedding job gives."""

    @classmethod
    def of(cls, expected_shards: int) -> "Sampling":
        """For a job of about so many shards."""
        shards = max(expected_shards, 1)
        return cls(-(-shards // MOST_SHARDS), -(-_MOST_TEXTS // min(shards, MOST_SHARDS)))

    def candidates(self, shard: ShardId, rows: pa.Table) -> pa.Table:
        """Rows of a shard in random order that samples may be chosen from, with their texts; none of most shards.

        Args:
            rows: with question and context, or with text.
        """
        if not self.every or zlib.crc32(f"{shard.unit}-{shard.number}".encode()) % self.every:
            return CANDIDATE_SCHEMA.empty_table()
        is_pair = "question" in rows.column_names
        texts = rows["context" if is_pair else "text"]
        order = np.random.default_rng([shard.unit, shard.number]).permutation(len(rows))
        if not is_pair:
            order = order[_first_of_each(texts)[order]][: self.texts]
        bytes_before = np.cumsum(pc.binary_length(texts).to_numpy()[order])
        order = order[: max(int(np.searchsorted(bytes_before, _MOST_BYTES, side="right")), 1)]
        return pa.table(
            {
                "row": order,
                "id": rows["id"].take(order),
                "question": _beginning(rows["question"].take(order)) if is_pair else pa.nulls(len(order), pa.string()),
                "text": texts.take(order) if is_pair else _beginning(texts.take(order)),
            },
            schema=CANDIDATE_SCHEMA,
        )


def best_answers(columns: pa.Table) -> pa.Table | None:
    """Columns answer, score, start and end of every row's best answer; None in an embedding job.

    Args:
        columns: the model's columns of some rows, others beside them.
    """
    names = ("answer", "score", "start", "end")
    if "answer" in columns.column_names:
        return columns.select(names)
    if "answers" not in columns.column_names:
        return None
    # Of no rows at all Arrow cannot take the first element.
    best = pc.list_element(columns["answers"], 0) if len(columns) else columns["answers"].combine_chunks().flatten()
    return pa.table({name: pc.struct_field(best, name) for name in names})


def _first_of_each(texts: pa.ChunkedArray) -> Flags:
    """[R] whether no earlier row has the same text."""
    codes = np.asarray(texts.combine_chunks().dictionary_encode().indices)
    first = np.zeros(len(codes), dtype=bool)
    first[np.unique(codes, return_index=True)[1]] = True
    return first


def _beginning(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """One character more than is shown, which tells that there are more."""
    return pc.utf8_slice_codeunits(texts, 0, _LONGEST + 1)


def _embedded(candidates: pa.Table, vectors: pa.ChunkedArray | None) -> tuple[RowSample, ...]:
    if vectors is None:
        return ()
    chosen = vectors.take(candidates["row"]).combine_chunks()
    if chosen.null_count:
        # Questions without tokens have no vector.
        candidates, chosen = candidates.filter(chosen.is_valid()), chosen.drop_null()
    written = np.asarray(chosen.flatten()).reshape(len(chosen), chosen.type.list_size)
    numbers = in_float_type(directions(written), np.dtype(np.float16))
    return tuple(
        RowSample(
            row["id"],
            None,
            row["text"][:_LONGEST],
            None,
            "",
            starts_earlier=False,
            goes_on=len(row["text"]) > _LONGEST,
            score=None,
            by_chance=True,
            vector=base64.b64encode(vector.tobytes()).decode(),
        )
        for row, vector in zip(candidates.to_pylist(), numbers, strict=True)
    )


def _answered(row: dict[str, Any], best: dict[str, Any], by_chance: bool) -> RowSample:
    text, question = row["text"], row["question"]
    abstains = best["answer"] is None or best["start"] is None
    start, end = (_LONGEST, _LONGEST) if abstains else (best["start"], best["end"])
    first = 0 if abstains else max(start - _AROUND, 0)
    before, after = text[first:start], "" if abstains else text[end : end + _AROUND]
    goes_on = len(text) > end + len(after)
    return RowSample(
        row["id"],
        _cut(question),
        # Whole words, where there are blanks between words.
        before.partition(" ")[2] or before if first else before,
        None if abstains else _cut(text[start:end]),
        after.rpartition(" ")[0] or after if goes_on else after,
        starts_earlier=first > 0,
        goes_on=goes_on,
        score=float(best["score"]),
        by_chance=by_chance,
    )


def _cut(text: str) -> str:
    return text[:_LONGEST] + "…" if len(text) > _LONGEST else text
