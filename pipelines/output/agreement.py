"""How far the results of some rows agree with those of the same model in float32."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Floats
from actors.engine.decoding.compact_vectors import directions
from actors.engine.output_columns import vector_names
from pipelines.output.row_samples import best_answers

_PLACE = ("start", "end")


@dataclass(frozen=True)
class RowAgreement:
    """Of N rows, one number for each: few rows of a job are compared, so that none is summed up before the report."""

    rows: int = 0
    equal_spans: tuple[bool, ...] = ()
    """[N] whether text and place of the best answer are the same; empty in an embedding job."""
    score_differences: tuple[float, ...] = ()
    """[N] how far the score of the best answer is from float32's; empty likewise."""
    cosines: tuple[float, ...] = ()
    """[N] of a row's embedding, the first of several, and float32's; empty where there are none."""

    @classmethod
    def between(cls, found: pa.Table, exact: pa.Table) -> "RowAgreement":
        """Compares the model's columns of the same rows.

        Args:
            found: what the job writes.
            exact: the same in float32.
        """
        mine, theirs = best_answers(found), best_answers(exact)
        spans: Sequence[bool] = ()
        scores: Sequence[float] = ()
        if mine is not None and theirs is not None:
            same = [_same(mine[name], theirs[name]) for name in ("answer", *_PLACE)]
            spans = np.logical_and.reduce(same).tolist()
            scores = np.abs(mine["score"].to_numpy() - theirs["score"].to_numpy()).tolist()
        cosines = ()
        if names := vector_names(found.column_names):
            cosines = tuple(_cosines(_vectors(found[names[0]]), _vectors(exact[names[0]])).tolist())
        return cls(len(found), tuple(spans), tuple(scores), cosines)

    @staticmethod
    def joined(pieces: Sequence["RowAgreement"]) -> "RowAgreement":
        """Of several shards together."""
        return RowAgreement(
            sum(piece.rows for piece in pieces),
            tuple(value for piece in pieces for value in piece.equal_spans),
            tuple(value for piece in pieces for value in piece.score_differences),
            tuple(value for piece in pieces for value in piece.cosines),
        )

    def to_json(self) -> str:
        """Empty where there is nothing."""
        return orjson.dumps(self).decode() if self.rows else ""

    @classmethod
    def from_json(cls, text: str) -> "RowAgreement":
        """The inverse of `to_json`."""
        if not text:
            return cls()
        found = orjson.loads(text)
        return cls(found.pop("rows"), **{name: tuple(values) for name, values in found.items()})


def _same(mine: pa.ChunkedArray, theirs: pa.ChunkedArray) -> Floats:
    """[N] whether values are equal; null is equal to null, where both abstain."""
    both_null = pc.and_(mine.is_null(), theirs.is_null())
    flags: Floats = pc.or_(pc.fill_null(pc.equal(mine, theirs), False), both_null).to_numpy()
    return flags


def _vectors(column: pa.ChunkedArray) -> Floats:
    """[N, D] of the rows that have one."""
    vectors = column.drop_null().combine_chunks()
    return directions(np.asarray(vectors.flatten()).reshape(len(vectors), -1))


def _cosines(mine: Floats, theirs: Floats) -> Floats:
    lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: Floats = (mine * theirs).sum(axis=1) / np.maximum(lengths, 1e-12)
    return cosines
