"""When a shard fails again and again and no store is to blame: the search, by halves, for the rows that do it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from actors.engine.pass_stats import PassStats
from actors.errors import last_line
from pipelines.errors import JobError, SpanmillError, StorageError
from pipelines.execution.stage_factory import Stages
from pipelines.job.pool_size import ActorPool
from pipelines.output.messages import ShardMessage, read_ipc, write_ipc
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.rows.quarantine import Fault, Reason, quarantine_rows
from pipelines.rows.validation import validate
from pipelines.stages.model import ModelStage
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.read import raw_shard
from pipelines.stages.write import Assembled, ModelWork

_MOST_GUILTY = 8
"""Rows of one shard that are quarantined for failing alone; where more fail, it is not the rows."""
_MOST_GIVEN_UP = 3
"""Shards in a row that may be given up; then the search ends, since something else is broken."""
_TRIALS = 2
"""How often a single row must fail."""


class _Cell:
    """A process that does all the work on one piece of a shard, and may die of it."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._model = ModelStage(stages.own)

    def ready(self) -> bool:
        return True

    def run(self, table: pa.Table) -> pa.Table:
        return self._model(self._stages.prepare(table))

    def accuse(self, table: pa.Table, fault: Fault) -> pa.Table:
        """The quarantine of a single row."""
        ticket = ShardMessage.from_table(table)
        valid = validate(raw_shard(ticket), ticket.file, self._stages.read.layout)
        faults = {0: fault} if len(valid.rows) else {}
        return pa.concat_tables(
            [valid.quarantine, quarantine_rows(valid.rows, valid.rows["id"], valid.places, ticket.file, faults)]
        )


class _NotTheRowsError(SpanmillError):
    """More rows fail alone than can be put down to the rows."""


class PoisonRowSearch:
    """Works on one shard at a time, so that a crash has one cause."""

    def __init__(self, stages: Stages, pool: ActorPool, say: Callable[[str], None]) -> None:
        """Takes the stages of the job; `say` shows a line to whoever waits."""
        self._stages = stages
        self._schema = stages.write.schema
        self._say = say
        self._resources: dict[str, Any] = {"num_cpus": pool.cpus, "num_gpus": pool.gpus}
        self._cell: Any = None
        self._guilty = 0

    def receipts(self, works: Sequence[PendingUnit], is_suspect: Callable[[ShardId], bool]) -> Iterator[Receipt]:
        """Commits the suspect shards of these units without their guilty rows, and says what became of each.

        Raises:
            JobError: no worker can load the model.
        """
        given_up = 0
        for work in works:
            for ticket in self._read(work):
                if ticket.settled:
                    yield Receipt.of_settled(ticket, time.time())
                elif is_suspect(ticket.shard):
                    receipt = self._receipt(ticket)
                    yield receipt
                    given_up = given_up + 1 if receipt.failed_in == "model" else 0
                    if given_up == _MOST_GIVEN_UP:
                        return

    def close(self) -> None:
        """Ends the worker."""
        if self._cell is not None:
            ray.kill(self._cell)
            self._cell = None

    def _read(self, work: PendingUnit) -> Iterator[ShardMessage]:
        """The shards of a unit, read by a worker of its own: the file may be what crashes it."""
        read: Any = ray.remote(num_cpus=0, num_returns="streaming", max_retries=0)(_read)
        try:
            for table in read.remote(self._stages, PendingUnit.to_table([work])):
                yield ShardMessage.from_table(ray.get(table))
        except RayError as error:
            yield ShardMessage(work.unit.index, 0, False, work.file.name).failed("read", error)

    def _receipt(self, ticket: ShardMessage) -> Receipt:
        raw = read_ipc(ticket.payloads["raw"])
        self._guilty = 0
        try:
            shard = _joined(list(self._pieces(ticket, raw)), self._schema)
            self._check_model(shard)
        except _NotTheRowsError as error:
            return Receipt.of_settled(ticket.failed("model", error), time.time())
        try:
            size = self._stages.write.write(ticket, shard)
        except StorageError as error:
            return Receipt.of_settled(ticket.failed("write", error), time.time())
        return shard.receipt(ticket, size)

    def _check_model(self, shard: Assembled) -> None:
        """That all rows of a small shard fail alone says nothing of them while the model never computed any."""
        if self._guilty and not len(shard.part) and not self._stages.write.parts.committed().shards:
            detail = shard.quarantine["detail"][-1].as_py()
            raise _NotTheRowsError(
                "every row fails alone, and no shard was ever computed, so the rows are not to blame; try another "
                f"model, backend or machine, or more memory. The last one: {detail}"
            )

    def _pieces(self, ticket: ShardMessage, raw: pa.Table) -> Iterator[Assembled]:
        """The rows of a shard in order, in pieces that could be computed, or are one accused row."""
        piece = ticket.with_payloads(raw=write_ipc(raw))
        done = self._tried(piece, _TRIALS if len(raw) == 1 else 1)
        if isinstance(done, ShardMessage):
            yield Assembled.of(done, self._schema)
        elif len(raw) > 1:
            self._say(f"shard {ticket.unit}-{ticket.number}: {len(raw)} rows fail together, halving them")
            middle = len(raw) // 2
            # What the schema says is lost is said once, by the last piece.
            yield from self._pieces(ticket, raw.slice(0, middle).replace_schema_metadata())
            yield from self._pieces(ticket, raw.slice(middle))
        else:
            self._guilty += 1
            if self._guilty > _MOST_GUILTY or not len(raw):
                raise _NotTheRowsError(
                    f"more than {_MOST_GUILTY} rows of one shard fail alone, so the rows are not to blame; try another "
                    f"model, backend or machine, or more memory. The last one: {done.detail}"
                )
            yield self._accused(piece, done)

    def _tried(self, piece: ShardMessage, trials: int) -> ShardMessage | Fault:
        fault = Fault(Reason.FAILED, "")
        for _ in range(trials):
            try:
                done = ShardMessage.from_table(ray.get(self._worker().run.remote(piece.to_table())))
            except RayError as error:
                self.close()
                fault = Fault(Reason.CRASHED, f"the worker died of this row: {last_line(error)}")
            else:
                if not done.settled:
                    return done
                fault = Fault(Reason.FAILED, done.error)
        return fault

    def _accused(self, piece: ShardMessage, fault: Fault) -> Assembled:
        try:
            quarantine = ray.get(self._worker().accuse.remote(piece.to_table(), fault))
        except RayError as error:
            self.close()
            raise _NotTheRowsError(f"a row crashes whoever reads it: {last_line(error)}") from error
        return Assembled(self._schema.empty_table(), quarantine, ModelWork.begin())

    def _worker(self) -> Any:
        """The worker; another one when the last one died."""
        if self._cell is None:
            make: Any = ray.remote(**self._resources, max_restarts=0)(_Cell)
            cell = make.remote(self._stages)
            try:
                ray.get(cell.ready.remote())
            except RayError as error:
                raise JobError(f"no worker can load the model: {last_line(error)}") from error
            self._cell = cell
        return self._cell


def _read(stages: Stages, work: pa.Table) -> Iterator[pa.Table]:
    yield from stages.read(work)


def _joined(pieces: Sequence[Assembled], schema: pa.Schema) -> Assembled:
    stats = PassStats()
    for piece in pieces:
        stats.add(piece.work.stats)
    first = pieces[0].work
    return Assembled(
        part=pa.concat_tables([schema.empty_table(), *(piece.part for piece in pieces)]),
        quarantine=pa.concat_tables([piece.quarantine for piece in pieces]).sort_by("place"),
        work=replace(first, seconds=time.time() - first.started, stats=stats),
    )
