"""The first stage: a read unit becomes its shards, one by one.

Every stage takes and gives one-row tables (`ShardMessage`). A stage that cannot do its work says so in the ticket and
goes on with the next shard: one bad file or shard never takes the others with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipelines.output.messages import ShardMessage, read_ipc, write_ipc
from pipelines.planning.row_schema import RowSchema
from pipelines.rows.shard_reader import RawShard, read_unit
from pipelines.stages.pending_units import PendingUnit
from pipelines.storage.retry import count_errors


@dataclass(frozen=True)
class ReadStage:
    """A read unit → its shards that are not committed yet, one by one."""

    layout: RowSchema
    storage: Mapping[str, object]

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Streams the shards of the units in `table` (see `PendingUnit.to_table`)."""
        for work in PendingUnit.from_table(table):
            yield from (ticket.to_table() for ticket in self.tickets(work))

    def tickets(self, work: PendingUnit) -> Iterator[ShardMessage]:
        """The shards of one unit; a unit that cannot be read to its end ends with a failed one."""
        number = 0
        shards = read_unit(work.file, work.unit, self.layout, self.storage, work.committed)
        while True:
            with count_errors() as errors:
                try:
                    raw = next(shards, None)
                except Exception as error:  # whatever a file's bytes or a store's package do, the others must go on
                    yield ShardMessage(
                        work.unit.index, number, False, work.file.name, store_errors=errors.total
                    ).failed("read", error)
                    return
            if raw is None:
                return
            number = raw.number + 1
            ticket = ShardMessage(raw.unit, raw.number, raw.last, work.file.name, store_errors=errors.total)
            yield ticket.with_payloads(raw=write_ipc(raw.table))


def raw_shard(ticket: ShardMessage) -> RawShard:
    """The rows that the read stage put into a ticket."""
    return RawShard(ticket.unit, ticket.number, ticket.last, read_ipc(ticket.payloads["raw"]))
