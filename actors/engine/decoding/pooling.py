"""Pools the token vectors of windows into vectors of texts: which tokens count, how much, and what windows make up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from actors.arrays import Flags, Floats, Longs, segments
from actors.batch import Batch
from actors.errors import ModelError
from actors.parameters import EmbeddingParameters, PoolingName, TextPart
from actors.tokenization.encoder_spec import WindowTemplate
from actors.tokenization.tokenized import Tokenized

_Runs = Callable[[Longs, Batch], tuple[Longs, Longs]]
"""Of a batch of the windows at some positions, [n], the run of tokens that count: where each begins in its window, and
its length, [n] each."""


@dataclass(frozen=True)
class TextVectors:
    """One vector for each of R rows."""

    part: TextPart
    """Of which text of the row."""
    pooling: PoolingName
    values: Floats
    """[R, D], or as many numbers as are kept of D; 0 where there is no vector."""
    is_missing: Flags | None = None
    """[R] rows that have no vector, since the question holds no token; None where every row has one."""


@dataclass(frozen=True)
class Pooling:
    """The vectors that are wanted of a shard's rows.

    Of a text alone all tokens count, the special ones included, which is what sentence-transformers' pooling of one
    window computes (https://sbert.net, `sentence_transformers.models.Pooling`: mean, cls, max, lasttoken); beside
    answers, only the text's own.
    """

    embedding: EmbeddingParameters
    weighings: tuple["_Weighing", ...]
    """Of the P vectors that are weighted means."""
    max_runs: tuple[_Runs, ...]
    """Of the M vectors that are largest numbers."""

    @classmethod
    def plan(
        cls, prepared: Tokenized, embedding: EmbeddingParameters, template: WindowTemplate, beside_answers: bool
    ) -> "Pooling":
        """For all windows of a shard.

        Args:
            template: of these windows.
        """
        weighings, max_runs = list[_Weighing](), list[_Runs]()
        for part, pooling in _vectors(embedding):
            runs = _runs(prepared, template, part, beside_answers)
            if pooling == "max":
                max_runs.append(runs)
            elif pooling == "cls":
                weighings.append(_Cls(_share(prepared)))
            elif pooling == "last":
                owner = prepared.windows.owner
                weighings.append(_Last(runs, np.append(owner[1:] != owner[:-1], True)[: len(owner)]))
            elif part == "question":
                weighings.append(_QuestionMean(runs, _share(prepared)))
            else:
                weighings.append(_PassageMean.plan(prepared, with_specials=not beside_answers))
        return cls(embedding, tuple(weighings), tuple(max_runs))

    def weights(self, chosen: Longs, batch: Batch) -> Floats | None:
        """[n, P, S] weights of a batch of the windows at the positions `chosen`; None where P is 0."""
        if not self.weighings:
            return None
        return np.stack([weighing.weights(chosen, batch) for weighing in self.weighings], axis=1)

    def max_tokens(self, chosen: Longs, batch: Batch) -> Flags | None:
        """[n, M, S] the tokens of which the largest numbers are wanted; None where M is 0."""
        if not self.max_runs:
            return None
        places = np.arange(batch.width)
        masks = []
        for runs in self.max_runs:
            start, length = runs(chosen, batch)
            masks.append((places >= start[:, None]) & (places < (start + length)[:, None]))
        return np.stack(masks, axis=1)

    def join(self, prepared: Tokenized, sums: Floats, weights: Floats, maxima: Floats) -> tuple[TextVectors, ...]:
        """The rows' vectors, of what their windows gave.

        Args:
            sums: [W, P, D] weighted sums of token vectors.
            weights: [W, P] what the weights of each window add up to.
            maxima: [W, M, D] largest numbers; anything where no token counts.
        """
        weighted, largest, found = 0, 0, list[TextVectors]()
        normalize, dimensions = self.embedding.normalize, self.embedding.dimensions
        for part, pooling in _vectors(self.embedding):
            if pooling == "max":
                vectors = largest_of_owners(prepared, maxima[:, largest], normalize, dimensions)
                largest += 1
            else:
                vectors = embed_owners(prepared, sums[:, weighted], weights[:, weighted], normalize, dimensions)
                weighted += 1
            is_missing = without_question(prepared) if part == "question" else None
            if is_missing is not None:
                vectors[is_missing] = 0
                is_missing = is_missing[prepared.row_owner]
            found.append(TextVectors(part, pooling, vectors[prepared.row_owner], is_missing))
        return tuple(found)


class _Weighing(Protocol):
    """How much every token of every window weighs in its owner's vector."""

    def weights(self, chosen: Longs, batch: Batch) -> Floats:
        """[n, S] of a batch of the windows at the positions `chosen`."""
        ...


@dataclass(frozen=True)
class _PassageMean:
    """A token that k windows hold weighs 1/k in each, so that overlap counts nothing twice."""

    prepared: Tokenized
    token_weight: Floats
    """[T] weights of the owners' passage tokens, owner after owner."""
    token_base: Longs
    """[W] where in `token_weight` the passage of each window's owner begins."""
    special_weight: Floats
    """[W] weight of each special token in a window; 0 leaves them out."""

    @classmethod
    def plan(cls, prepared: Tokenized, with_specials: bool) -> "_PassageMean":
        windows, share = prepared.windows, _share(prepared)
        is_first = windows.first == 0
        owner_lengths = prepared.passage.lengths[windows.passage[is_first]].astype(np.int64)
        owner_base = np.cumsum(owner_lengths) - owner_lengths
        base = owner_base[windows.owner]
        coverage = np.zeros(int(owner_lengths.sum()) + 1, dtype=np.int32)
        np.add.at(coverage, base + windows.first, 1)
        np.add.at(coverage, base + windows.stop, -1)
        # No window holds the end of a text that was cut.
        weight = (1.0 / np.maximum(np.cumsum(coverage)[:-1], 1)).astype(np.float32)
        return cls(prepared, weight, base, share if with_specials else np.zeros_like(share))

    def weights(self, chosen: Longs, batch: Batch) -> Floats:
        real = np.arange(batch.width) < batch.lengths[:, None]
        weights = np.where(real, self.special_weight[chosen][:, None], np.float32(0))
        rows = np.arange(batch.windows, dtype=np.int64) * batch.width
        target = segments(rows + batch.passage_start, batch.passage_length)
        source = segments(self.token_base[chosen] + self.prepared.windows.first[chosen], batch.passage_length)
        weights.reshape(-1)[target] = self.token_weight[source]
        return weights


@dataclass(frozen=True)
class _QuestionMean:
    """Every window of a row holds the whole question."""

    runs: _Runs
    share: Floats
    """[W]"""

    def weights(self, chosen: Longs, batch: Batch) -> Floats:
        start, length = self.runs(chosen, batch)
        weights = np.zeros((batch.windows, batch.width), dtype=np.float32)
        rows = np.arange(batch.windows, dtype=np.int64) * batch.width
        weights.reshape(-1)[segments(rows + start, length)] = np.repeat(self.share[chosen], length)
        return weights


@dataclass(frozen=True)
class _Cls:
    share: Floats
    """[W]"""

    def weights(self, chosen: Longs, batch: Batch) -> Floats:
        weights = np.zeros((batch.windows, batch.width), dtype=np.float32)
        first = np.zeros(batch.windows, dtype=np.int64) if batch.cls is None else batch.cls
        weights[np.arange(batch.windows), first] = self.share[chosen]
        return weights


@dataclass(frozen=True)
class _Last:
    runs: _Runs
    is_last: Flags
    """[W] whether it is the last window of its owner."""

    def weights(self, chosen: Longs, batch: Batch) -> Floats:
        start, length = self.runs(chosen, batch)
        weights = np.zeros((batch.windows, batch.width), dtype=np.float32)
        weights[np.arange(batch.windows), start + length - 1] = self.is_last[chosen]
        return weights


def check_dimensions(embedding: EmbeddingParameters | None, hidden_size: int) -> None:
    """Raises ModelError where more numbers are to be kept of a vector than a model gives."""
    if embedding is not None and (embedding.dimensions or 0) > hidden_size:
        raise ModelError(
            f"embedding.dimensions is {embedding.dimensions}, but the vectors of this model have {hidden_size} "
            "numbers; lower it, or leave it out to keep them all"
        )


def embed_owners(
    prepared: Tokenized, sums: Floats, weights: Floats, normalize: bool, dimensions: int | None = None
) -> Floats:
    """Joins weighted sums over the windows of each owner.

    Args:
        sums: [W, D] weighted sums of token vectors.
        weights: [W] what the weights of each window add up to.
        normalize: scale every vector to length 1.
        dimensions: numbers that are kept of D; None keeps all.

    Returns:
        [owners, D] float32
    """
    begins = prepared.first_windows
    total = np.add.reduceat(weights, begins)
    vectors = np.add.reduceat(sums, begins, axis=0) / np.where(total > 0, total, np.float32(1))[:, None]
    return finished(vectors, normalize, dimensions)


def largest_of_owners(prepared: Tokenized, maxima: Floats, normalize: bool, dimensions: int | None = None) -> Floats:
    """As `embed_owners`, of the largest numbers in each window, [W, D]."""
    return finished(np.maximum.reduceat(maxima, prepared.first_windows, axis=0), normalize, dimensions)


def finished(vectors: npt.NDArray[np.floating[Any]], normalize: bool, dimensions: int | None) -> Floats:
    """Vectors, [N, D], cut to so many numbers, and scaled to length 1 where that is wanted; float32."""
    vectors = vectors[:, :dimensions]
    if normalize:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    joined: Floats = vectors.astype(np.float32, copy=False)
    return joined


def _vectors(embedding: EmbeddingParameters) -> list[tuple[TextPart, PoolingName]]:
    """What is wanted, in the order of the output's columns."""
    return [(part, pooling) for part in embedding.parts for pooling in embedding.poolings]


def _share(prepared: Tokenized) -> Floats:
    """[W] one part in as many as the window's owner has windows."""
    windows = prepared.windows
    per_owner = np.bincount(windows.owner, minlength=prepared.owners)
    share: Floats = (1.0 / per_owner[windows.owner]).astype(np.float32)
    return share


def _runs(prepared: Tokenized, template: WindowTemplate, part: TextPart, beside_answers: bool) -> _Runs:
    if part == "passage" and not beside_answers:
        return lambda chosen, batch: (np.zeros_like(batch.lengths), batch.lengths)
    if part == "passage":
        return lambda chosen, batch: (batch.passage_start, batch.passage_length)

    def question(chosen: Longs, batch: Batch) -> tuple[Longs, Longs]:
        start = np.full(batch.windows, len(template.prefix), dtype=np.int64)
        if template.passage_first:
            start += batch.passage_length + len(template.middle)
        return start, prepared.window_tokens[chosen, 1]

    return question


def without_question(prepared: Tokenized) -> Flags | None:
    """[owners] those whose question holds no token, and has no vector; None where there are none."""
    is_empty: Flags = prepared.question.lengths[prepared.windows.question[prepared.first_windows]] == 0
    return is_empty if is_empty.any() else None
