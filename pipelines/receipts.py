"""What the driver learns of a shard."""

from dataclasses import dataclass

import pyarrow as pa

from actors.stats import PassStats
from pipelines.shards import ShardId
from pipelines.tickets import Ticket


@dataclass(frozen=True)
class Receipt:
    """A shard is committed, or could not be."""

    shard: ShardId
    error: str
    """Why it is not committed; empty when it is."""
    rows: int
    """Rows in its part."""
    quarantined: int
    """Rows in its quarantine."""
    answered: int
    """Rows whose answer is not null; in an embedding job, all."""
    stats: PassStats

    def to_table(self) -> pa.Table:
        """A one-row table."""
        return pa.table(
            {
                "unit": [self.shard.unit],
                "number": [self.shard.number],
                "last": [self.shard.last],
                "error": [self.error],
                "rows": [self.rows],
                "quarantined": [self.quarantined],
                "answered": [self.answered],
                "stats": [self.stats.to_json()],
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> list["Receipt"]:
        """Reads a table of any number of receipts."""
        return [
            cls(
                shard=ShardId(row["unit"], row["number"], row["last"]),
                stats=PassStats.from_json(row["stats"]),
                **{name: row[name] for name in ("error", "rows", "quarantined", "answered")},
            )
            for row in table.to_pylist()
        ]

    @classmethod
    def of_failure(cls, ticket: Ticket) -> "Receipt":
        """The receipt of a shard that a stage gave up."""
        return cls(ticket.shard, ticket.error, 0, 0, 0, PassStats())
