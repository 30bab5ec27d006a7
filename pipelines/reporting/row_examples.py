"""Rows that the report opens with: answers in their passages, or texts with their nearest neighbours."""

import zlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.arrays import Floats
from pipelines.output.row_samples import MOST_SHARDS, RowSample, ShardSamples
from pipelines.reporting.report_model import AnswerGroup, Answers, Neighbour, Neighbourhood, Neighbours

_BEST, _WORST, _RANDOM = 4, 4, 6
_TOO_FEW = 6
"""As many answers or fewer are shown as they are, without a best and a worst."""
_CLOSEST, _TEXTS, _NEIGHBOURS = 3, 5, 3


def samples_of(receipts: pa.Table) -> ShardSamples:
    """What the receipts hold, at most of 2 * MOST_SHARDS of them, in the order of the corpus."""
    texts = receipts["samples"].filter(pc.greater(pc.binary_length(receipts["samples"]), 0))
    return ShardSamples.joined([ShardSamples.from_json(text) for text in texts[: 2 * MOST_SHARDS].to_pylist()])


def answers(samples: ShardSamples) -> Answers | None:
    """The best, the worst and some random answers; no row twice. None where there are none."""
    rows = [row for row in samples.rows if row.question is not None]
    answered = sorted((row for row in rows if row.answer is not None), key=lambda row: -(row.score or 0.0))
    random = sorted((row for row in rows if row.by_chance), key=_mixed)
    if not rows:
        return None
    if len(rows) <= _TOO_FEW:
        return Answers(samples.looked_at, [AnswerGroup("all", rows)])
    shown: list[RowSample] = []
    groups = []
    for name, candidates, most in (
        ("best", answered, _BEST),
        ("worst", answered[::-1], _WORST),
        ("random", random, _RANDOM),
    ):
        chosen = [row for row in candidates if row not in shown][:most]
        shown += chosen
        groups.append(AnswerGroup(name, chosen))
    return Answers(samples.looked_at, [group for group in groups if group.rows])


def neighbours(samples: ShardSamples) -> Neighbours | None:
    """Texts with those of the sample that are nearest; None where there are not two texts."""
    distinct = {row.before: row for row in samples.rows if row.vector}
    rows = list(distinct.values())
    if len(rows) < 2:
        return None
    similarity = _cosines(np.stack([row.embedding() for row in rows]))
    np.fill_diagonal(similarity, -np.inf)
    near = np.argsort(-similarity, axis=1, kind="stable")[:, :_NEIGHBOURS]
    by_closeness = np.argsort(-similarity.max(axis=1), kind="stable").tolist()
    closest, seen = list[int](), set[int]()
    for number in by_closeness:
        if number not in seen and len(closest) < _CLOSEST:
            closest.append(number)
            seen |= {number, int(near[number, 0])}
    # Two texts have one nearest neighbour, three have two: what is left of the row is the text itself.
    most = min(_NEIGHBOURS, len(rows) - 1)
    random = [number for number in sorted(range(len(rows)), key=lambda n: _mixed(rows[n])) if number not in closest]

    def around(numbers: Iterable[int]) -> list[Neighbourhood]:
        return [
            Neighbourhood(
                rows[number].id,
                _text(rows[number]),
                [
                    Neighbour(rows[n].id, _text(rows[n]), round(float(similarity[number, n]), 3))
                    for n in near[number, :most]
                ],
            )
            for number in numbers
        ]

    return Neighbours(len(rows), around(closest), around(random[:_TEXTS]))


def _mixed(row: RowSample) -> tuple[int, str]:
    """An order that has nothing to do with that of the corpus, and is the same whenever the report is made."""
    text = f"{row.question or ''}{row.before}{row.after}"
    return zlib.crc32(text.encode()), text


def _text(row: RowSample) -> str:
    return row.before + (" …" if row.goes_on else "")


def _cosines(vectors: Floats) -> Floats:
    """[N, N] of [N, D]; 0 for a vector of zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-9)
    cosines: Floats = unit @ unit.T
    return cosines
