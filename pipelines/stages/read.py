"""The first stage: a read unit becomes its shards, one by one."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from actors.tracing.context import TraceContext
from pipelines.output.parts import ShardId
from pipelines.planning.row_schema import RowSchema
from pipelines.rows.shard_reader import read_unit
from pipelines.stages.messages import IpcTable, RawMessage, SettledMessage, ShardHeader
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.tracing import new_shard, trace_stage
from pipelines.storage.retry import count_errors


@dataclass(frozen=True)
class ReadStage:
    """A read unit → its shards that are not committed yet, one by one."""

    layout: RowSchema
    storage: Mapping[str, object]
    trace: TraceContext | None = None
    """The span of the job; None where it is not traced."""

    name = "read"

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Streams the shards of the units in `table` (see `PendingUnit.to_table`)."""
        for pending in PendingUnit.from_table(table):
            yield from (message.to_table() for message in self.messages(pending))

    def messages(self, pending: PendingUnit) -> Iterator[RawMessage | SettledMessage]:
        """The shards of one unit; a unit that cannot be read to its end ends with a failed one."""
        number, file = 0, pending.file.name
        shards = read_unit(pending.file, pending.unit, self.layout, self.storage, pending.committed)
        while True:
            began = time.time_ns()
            with count_errors() as errors:
                try:
                    raw = next(shards, None)
                except Exception as error:  # whatever a file's bytes or a store's package do, the others must go on
                    shard = ShardId(pending.unit.index, number, False)
                    header = ShardHeader(shard, file, errors.total, *new_shard(self.trace, began))
                    trace_stage(self.name, header, began, error)
                    yield SettledMessage.failed(header, self.name, error)
                    return
            if raw is None:
                return
            number = raw.number + 1
            shard = ShardId(raw.unit, raw.number, raw.last)
            header = ShardHeader(shard, file, errors.total, *new_shard(self.trace, began))
            message = RawMessage(header, IpcTable.of(raw.table))
            trace_stage(self.name, header, began)
            yield message
