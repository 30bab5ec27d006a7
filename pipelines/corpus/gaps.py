"""What cannot be read of a damaged file: it takes the place of the rows that are lost, and ends in quarantine."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import orjson
import pyarrow as pa

from pipelines.schemas import QUARANTINE_SCHEMA

_KEY = b"spanmill.gaps"


@dataclass(frozen=True)
class Gap:
    """Rows of a file that are lost; it counts and is sliced as they would, so that the shards behind it stay theirs."""

    place: int
    """The first row (Parquet), or the byte of the text (JSONL), that cannot be read."""

    rows: int
    """How many are lost; 0 where nobody knows, in a stream that breaks off."""

    message: str
    """What is wrong with the file, and the mend."""

    def __len__(self) -> int:
        return self.rows

    def slice(self, offset: int, length: int) -> "Gap":
        """Rows [offset, offset + length) of it."""
        return Gap(self.place + offset, length, self.message)

    def __str__(self) -> str:
        lost = f"{self.rows:,} rows are" if self.rows else "what follows is"
        return f"{lost} lost. {self.message}"


def with_gaps(table: pa.Table, gaps: Sequence[Gap]) -> pa.Table:
    """The table, its schema telling what is missing between or behind its rows."""
    if not gaps:
        return table
    return table.replace_schema_metadata({_KEY: orjson.dumps([astuple(gap) for gap in gaps])})


def gaps_of(table: pa.Table) -> list[Gap]:
    """What `with_gaps` told it."""
    return [Gap(*fields) for fields in orjson.loads((table.schema.metadata or {}).get(_KEY, b"[]"))]


def quarantined_gaps(gaps: Sequence[Gap], file_name: str, reason: str, characters: int) -> pa.Table:
    """One row of QUARANTINE_SCHEMA for every gap, details cut to `characters`; there is no id and no raw row."""
    rows = [
        {"file": file_name, "place": gap.place, "reason": reason, "detail": str(gap)[:characters], "row": ""}
        for gap in gaps
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA)
