"""The third stage: windows become result columns, by a model of the job's own or the replicas of a service."""

import pyarrow as pa

from pipelines.errors import StorageError
from pipelines.output.messages import ShardMessage, write_ipc
from pipelines.output.parts import Parts
from pipelines.stages.model_runner import OwnModel, SharedModel
from pipelines.stages.write import ModelWork
from pipelines.storage.retry import count_errors


class ModelStage:
    """Windows → result columns; one of these is one model actor of the pool, or one feeder of a service."""

    def __init__(self, model: OwnModel | SharedModel, parts: Parts | None = None) -> None:
        """Loads the model, or finds the service that has one; it must be the one that the driver saw.

        Args:
            parts: where to look, just before the work, whether another run has done it; None does not look.
        """
        self._runner = model.open()
        self._parts = parts

    def __call__(self, table: pa.Table) -> pa.Table:
        """Runs one shard."""
        ticket = ShardMessage.from_table(table)
        if ticket.settled:
            return table
        with count_errors() as errors:
            found = self._is_committed(ticket)
        ticket = ticket.with_errors(errors.total)
        if found:
            return ticket.already_there().to_table()
        try:
            return self._computed(ticket).to_table()
        except Exception as error:  # whatever a runtime throws, the other shards must go on
            return ticket.failed("model", error).to_table()

    def _is_committed(self, ticket: ShardMessage) -> bool:
        try:
            return self._parts is not None and self._parts.has(ticket.shard)
        except StorageError:
            # Looking only saves work; whether the store is really gone is the next stage's to find out.
            return False

    def _computed(self, ticket: ShardMessage) -> ShardMessage:
        work = ModelWork.begin()
        results, stats = self._runner.process(ticket.payloads["prepared"])
        return ticket.with_payloads(
            results=write_ipc(results),
            work=write_ipc(work.done(stats).to_table()),
            rows=ticket.payloads["rows"],
            quarantine=ticket.payloads["quarantine"],
        )
