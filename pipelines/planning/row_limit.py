"""`--limit N`: the plan of the first N rows of a corpus."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pipelines.corpus.formats.base import find_format
from pipelines.corpus.gaps import Gap
from pipelines.planning.plan import Plan, ReadUnit


def limit_rows(plan: Plan, limit: int, storage: Mapping[str, object]) -> Plan:
    """The plan cut after `limit` rows; units whose rows are not known are read that far to count them.

    Raises:
        CorpusError, StorageError: a file cannot be read.
    """
    taken = list(_taken(plan, limit, storage))
    return replace(plan, units=tuple(unit for unit, _ in taken), row_estimate=sum(rows for _, rows in taken))


def _taken(plan: Plan, limit: int, storage: Mapping[str, object]) -> Iterator[tuple[ReadUnit, int]]:
    left = limit
    for unit in plan.units:
        if left <= 0:
            return
        rows, ends = (unit.rows, True) if unit.rows is not None else _count(plan, unit, left, storage)
        # A stream that breaks off is read up to there, so that this is said.
        yield replace(unit, rows=min(rows, left) if ends else None), min(rows, left)
        left -= rows


def _count(plan: Plan, unit: ReadUnit, enough: int, storage: Mapping[str, object]) -> tuple[int, bool]:
    """Rows that can be read, up to about `enough`, and whether there is no damage behind them."""
    file, rows = plan.file_of(unit), 0
    for part in find_format(file.format).read(file, unit.span, plan.layout.read_options(storage)):
        if isinstance(part, Gap) and not len(part):
            return rows, False
        rows += len(part)
        if rows >= enough:
            break
    return rows, True
