"""Draws a sample of a plan, pieces from all over the corpus, for an estimate to run."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from pipelines.corpus.formats.base import BYTE, find_format
from pipelines.planning.plan import Plan, ReadUnit
from pipelines.rows.shard_reader import read_unit

_SEED = 11


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


def sampled_lines(sample: Plan, storage: Mapping[str, object]) -> Iterator[tuple[int, int]]:
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
