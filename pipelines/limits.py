"""The first N rows of a corpus."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipelines.jsonl_reader import read_lines
from pipelines.plan import Plan, ReadUnit


def limit_rows(plan: Plan, limit: int, storage: Mapping[str, object]) -> Plan:
    """The plan cut after `limit` rows; JSONL is read that far to count them.

    Raises:
        CorpusError, StorageError: a file cannot be read.
    """
    units = tuple(_taken(plan, limit, storage))
    rows = sum(unit.rows or 0 for unit in units)
    return replace(plan, units=units, row_estimate=rows)


def _taken(plan: Plan, limit: int, storage: Mapping[str, object]) -> Iterator[ReadUnit]:
    left = limit
    for unit in plan.units:
        if left <= 0:
            return
        rows = unit.rows if unit.rows is not None else _count(plan, unit, left, storage)
        yield replace(unit, rows=min(rows, left))
        left -= rows


def _count(plan: Plan, unit: ReadUnit, enough: int, storage: Mapping[str, object]) -> int:
    rows = 0
    for lines in read_lines(plan.file_of(unit), unit.start, unit.stop, storage, plan.layout.max_line_bytes):
        rows += len(lines)
        if rows >= enough:
            break
    return rows
