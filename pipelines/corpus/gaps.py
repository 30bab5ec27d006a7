"""Gaps: the rows of a damaged file that cannot be read, which are counted as rows and reported in quarantine."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import orjson
import pyarrow as pa

from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.words import counted

_KEY = b"spanmill.gaps"


@dataclass(frozen=True)
class Gap:
    """Consecutive rows of a file that cannot be read.

    It has their number as its length and can be sliced as they could, so that a gap moves no row to another shard.
    """

    place: int
    """The number of the first lost row, or its byte in the decompressed file, whichever the format places rows by."""

    rows: int
    """How many are lost; 0 where that cannot be known, as in a compressed stream that breaks off."""

    message: str
    """What is wrong with the file, and what to do about it."""

    def __len__(self) -> int:
        return self.rows

    def slice(self, offset: int, length: int) -> "Gap":
        """Rows [offset, offset + length) of it."""
        return Gap(self.place + offset, length, self.message)

    def __str__(self) -> str:
        lost = f"{counted(self.rows, 'row')} {'is' if self.rows == 1 else 'are'}" if self.rows else "what follows is"
        return f"{lost} lost. {self.message}"


def with_gaps(table: pa.Table, gaps: Sequence[Gap]) -> pa.Table:
    """The table with its gaps in the metadata of its schema, so that they travel with it through Arrow IPC."""
    if not gaps:
        return table
    return table.replace_schema_metadata({_KEY: orjson.dumps([astuple(gap) for gap in gaps])})


def gaps_of(table: pa.Table) -> list[Gap]:
    """The gaps that `with_gaps` wrote into the table's schema; none for any other table."""
    return [Gap(*fields) for fields in orjson.loads((table.schema.metadata or {}).get(_KEY, b"[]"))]


def quarantined_gaps(gaps: Sequence[Gap], file_name: str, reason: str, characters: int) -> pa.Table:
    """One row of QUARANTINE_SCHEMA for every gap, details cut to `characters`; there is no id and no raw row."""
    rows = [
        {"file": file_name, "place": gap.place, "reason": reason, "detail": str(gap)[:characters], "row": ""}
        for gap in gaps
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA)
