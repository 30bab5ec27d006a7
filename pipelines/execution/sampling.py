"""Draws a sample of a plan, pieces from all over the corpus, for an estimate to run."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from pipelines.planning.plan import Plan, ReadUnit
from pipelines.rows.shard_reader import read_unit

_SEED = 11


def sample_plan(plan: Plan, pieces: int, piece_rows: int) -> Plan:
    """`pieces` units of at most `piece_rows` rows, each one shard, from random places; the same for the same plan.

    Every other piece is half as long, so that what a part costs can be told from what its rows do.

    Places are drawn in proportion to size. A compressed file can only be read from its beginning, so all that is seen
    of it are its first rows. A row that two pieces share counts in both.
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
    """(lines, bytes) of every piece of plain JSONL, which is read for it; a piece of one line tells nothing.

    Raises:
        CorpusError, StorageError: a file cannot be read.
    """
    for unit in sample.units:
        file = sample.file_of(unit)
        if file.format == "jsonl" and file.compression is None:
            for raw in read_unit(file, unit, sample.layout, storage):
                places = raw.table["_byte"].to_numpy()
                if len(places) > 1:
                    yield len(places) - 1, int(places[-1] - places[0])


def _size(plan: Plan, unit: ReadUnit) -> float:
    if unit.rows is not None:
        return unit.rows
    # Bytes of a file that is not compressed weigh as the rows they are likely to hold.
    return (unit.stop - unit.start) / max(plan.file_of(unit).size, 1) * plan.row_estimate


def _piece(plan: Plan, unit: ReadUnit, rows: int, place: float) -> ReadUnit:
    file = plan.file_of(unit)
    if file.compression is not None:
        return replace(unit, rows=rows)
    start = unit.start + int(place * (unit.stop - unit.start))
    # Where the rest of the unit has too few rows for a piece, the rest of the file goes on.
    return replace(unit, start=start, stop=unit.stop if file.format == "parquet" else file.size, rows=rows)
