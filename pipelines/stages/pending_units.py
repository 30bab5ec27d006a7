"""What a job still has to do: the units that Ray Data starts from, one row each."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import orjson
import pyarrow as pa

from pipelines.corpus.source_file import SourceFile
from pipelines.output.parts import Committed
from pipelines.planning.plan import Plan, ReadUnit


@dataclass(frozen=True)
class PendingUnit:
    """A read unit with shards that are not committed."""

    unit: ReadUnit
    file: SourceFile
    committed: frozenset[int]
    """Numbers of its shards that are committed already."""

    @classmethod
    def left(cls, plan: Plan, committed: Committed) -> list["PendingUnit"]:
        """The units of a plan that are not complete."""
        return [
            cls(unit, plan.file_of(unit), committed.numbers(unit.index))
            for unit in plan.units
            if not committed.is_complete(unit.index)
        ]

    @staticmethod
    def to_table(pending: Sequence["PendingUnit"]) -> pa.Table:
        """One row per unit."""
        rows = [
            orjson.dumps([astuple(one.unit), one.file.to_json(with_secrets=True), sorted(one.committed)])
            for one in pending
        ]
        return pa.table({"pending": pa.array(rows, pa.binary())})

    @classmethod
    def from_table(cls, table: pa.Table) -> list["PendingUnit"]:
        """The inverse of `to_table`."""
        parsed = [orjson.loads(row) for row in table["pending"].to_pylist()]
        return [cls(ReadUnit(*unit), SourceFile.from_json(file), frozenset(numbers)) for unit, file, numbers in parsed]
