"""Draws a sample of a plan, pieces from all over the corpus, for an estimate to run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipelines.corpus.formats.base import BYTE, find_format
from pipelines.planning.plan import Plan, ReadUnit
from pipelines.rows.shard_reader import read_unit

_SEED = 11
_COUNTED_PIECES, _COUNTED_ROWS = 24, 64
"""Of the sample whose lines are counted."""
_MOST_SHARE = 0.25
"""Of the corpus that an estimate may run."""
_FEWEST_ROWS = 4
"""Of a piece: fewer would not fill a batch."""
_MEAN = 0.75
"""Of a piece, as a share of the longest: every other one is half as long."""


@dataclass(frozen=True)
class SampleSize:
    """How much of a corpus an estimate runs."""

    pieces: int
    piece_rows: int
    """Of a long piece."""
    is_small_job: bool
    """Whether the sample that was wanted would have been half of the corpus or more, so that this one is smaller."""


def sample_size(rows: int, pieces: int, piece_rows: int, fewest_pieces: int) -> SampleSize:
    """The wanted pieces, or less of a small corpus: a job must not take less time than its estimate.

    Args:
        rows: of the corpus, or about.
        pieces, piece_rows: wanted.
    """
    most = max(int(rows * _MOST_SHARE), fewest_pieces)
    wanted = pieces * piece_rows * _MEAN
    if wanted <= most:
        return SampleSize(pieces, piece_rows, False)
    shorter = min(piece_rows, max(int(most / pieces / _MEAN), _FEWEST_ROWS))
    fewer = max(min(int(most / shorter / _MEAN), pieces), fewest_pieces)
    return SampleSize(fewer, max(min(shorter, int(most / fewer / _MEAN)), 1), 2 * wanted >= rows)


def counted_plan(plan: Plan, storage: Mapping[str, object]) -> Plan:
    """The plan with its rows counted by the lines of a sample, where only reading all of it would tell.

    Places all over the corpus tell more than the beginnings of its files, which `make_plan` looks at. Files that can
    only be read from their beginning stay as they were guessed.

    Raises:
        CorpusError, StorageError: a file cannot be read.
    """
    unknown = [unit for unit in plan.units if unit.rows is None]
    if not unknown or any(find_format(file.format).division(file) != "bytes" for file in map(plan.file_of, unknown)):
        return plan
    lines = list(_sampled_lines(sample_plan(plan, _COUNTED_PIECES, _COUNTED_ROWS), storage))
    if not lines:
        return plan
    exact = sum(unit.rows or 0 for unit in plan.units)
    row_bytes = sum(size for _, size in lines) / sum(count for count, _ in lines)
    return replace(plan, row_estimate=exact + round(sum(unit.stop - unit.start for unit in unknown) / row_bytes))


def sample_plan(plan: Plan, pieces: int, piece_rows: int) -> Plan:
    """`pieces` units of at most `piece_rows` rows, each one shard, from random places; the same for the same plan.

    Every other piece is half as long, so that what a part costs can be told from what its rows do.

    Places are drawn in proportion to size. Some files (compressed ones) can only be read from their
    beginning, so all that is seen of them are their first rows. A row that two pieces share counts in both.
    """
    rng = np.random.default_rng(_SEED)
    sizes = np.array([_size(plan, unit) for unit in plan.units], dtype=np.float64)
    if not sizes.sum():
        sizes += 1
    chosen = rng.choice(len(sizes), size=pieces, p=sizes / sizes.sum())
    lengths = (max(piece_rows // 2, 1), piece_rows)
    units = [
        _piece(plan, plan.units[number], lengths[place % 2], rng.random())
        for place, number in enumerate(np.sort(chosen))
    ]
    return replace(
        plan,
        units=tuple(replace(unit, index=index) for index, unit in enumerate(units)),
        layout=replace(plan.layout, shard_rows=piece_rows),
        row_estimate=pieces * piece_rows,
    )


def _sampled_lines(sample: Plan, storage: Mapping[str, object]) -> Iterator[tuple[int, int]]:
    """(lines, bytes) of every piece that is cut by bytes, which is read for it; a piece of one line tells nothing.

    Raises:
        CorpusError, StorageError: a file cannot be read.
    """
    for unit in sample.units:
        file = sample.file_of(unit)
        if find_format(file.format).division(file) == "bytes":
            for raw in read_unit(file, unit, sample.layout, storage):
                places = raw.table[BYTE].to_numpy()
                if len(places) > 1:
                    yield len(places) - 1, int(places[-1] - places[0])


def _size(plan: Plan, unit: ReadUnit) -> float:
    if unit.rows is not None:
        return unit.rows
    # Bytes of a file that is not compressed weigh as the rows they are likely to hold.
    return (unit.stop - unit.start) / max(plan.file_of(unit).size, 1) * plan.row_estimate


def _piece(plan: Plan, unit: ReadUnit, rows: int, place: float) -> ReadUnit:
    file = plan.file_of(unit)
    division = find_format(file.format).division(file)
    if division == "whole":
        return replace(unit, rows=rows)
    start = unit.start + int(place * (unit.stop - unit.start))
    # Where the rest of the unit has too few rows for a piece, the rest of the file goes on.
    return replace(unit, start=start, stop=file.size if division == "bytes" else unit.stop, rows=rows)
