"""Finds the rows that break a stage, by halving a shard that fails every time, so that its other rows are written."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from actors.engine.pass_stats import PassStats
from actors.errors import last_line
from pipelines.errors import JobError, SpanmillError, StorageError
from pipelines.execution.stage_list import StageList
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.output.row_samples import ShardSamples
from pipelines.rows.quarantine import Fault, Reason, quarantine_rows
from pipelines.schemas import empty_table
from pipelines.stages.messages import IpcTable, RawMessage, ResultsMessage, SettledMessage, ShardHeader
from pipelines.stages.model.run import ModelRun
from pipelines.stages.model.stage import ModelStage
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.prepare import validated
from pipelines.stages.write import FinishedShard

_MOST_POISON_ROWS = 8
"""Rows of one shard that are quarantined for failing alone; where more fail, it is not the rows."""
_MOST_GIVEN_UP = 3
"""Shards in a row that may be given up; then the search ends, since something else is broken."""
_TRIALS = 2
"""How often a single row must fail."""


class _TrialWorker:
    """A process that takes a piece of a shard through all stages between reading and writing, and may die of it."""

    def __init__(self, stages: StageList) -> None:
        self._layout = stages.read.stage.layout
        self._compute = [stage.open_alone() for stage in stages.compute]

    def ready(self) -> bool:
        return True

    def run(self, table: pa.Table) -> pa.Table:
        for stage in self._compute:
            table = stage(table)
        return table

    def quarantine_row(self, table: pa.Table, fault: Fault) -> pa.Table:
        """The quarantine of a single row."""
        message = RawMessage.from_table(table)
        valid = validated(message, self._layout)
        faults = {0: fault} if len(valid.rows) else {}
        added = quarantine_rows(valid.rows, valid.rows["id"], valid.places, message.header.file, faults)
        return pa.concat_tables([valid.quarantine, added])


class _NotTheRowsError(SpanmillError):
    """More rows fail alone than can be put down to the rows."""


class PoisonRowSearch:
    """Works on one shard at a time, so that a crash has one cause."""

    def __init__(self, stages: StageList, pool: ActorPool, say: Callable[[str], None]) -> None:
        """Takes the stages of the job; `say` shows a line to whoever waits."""
        self._stages = stages
        self._write = stages.write.stage
        self._say = say
        self._resources: dict[str, Any] = {"num_cpus": pool.cpus, "num_gpus": pool.gpus, **stages.placement}
        self._worker: Any = None
        self._poison_rows = 0
        """Of the shard at hand."""
        self._lost = 0
        """Pieces of it in a row at which the device was lost, none computed in between."""
        self._most_lost = 0

    def receipts(self, pending: Sequence[PendingUnit], is_suspect: Callable[[ShardId], bool]) -> Iterator[Receipt]:
        """Commits the suspect shards of these units without their poison rows, and says what became of each.

        Raises:
            JobError: no worker can load the model, or the service that runs it has changed.
        """
        given_up = 0
        for unit in pending:
            for message in self._read(unit):
                if isinstance(message, SettledMessage):
                    yield self._write.end(message)
                elif is_suspect(message.header.shard):
                    receipt = self._receipt(message)
                    yield receipt
                    given_up = given_up + 1 if receipt.failed_in == ModelStage.name else 0
                    if given_up == _MOST_GIVEN_UP:
                        return

    def close(self) -> None:
        """Ends the worker."""
        if self._worker is not None:
            ray.kill(self._worker)
            self._worker = None

    def _read(self, pending: PendingUnit) -> Iterator[RawMessage | SettledMessage]:
        """The shards of a unit, read by a worker of its own: the file may be what crashes it."""
        read: Any = ray.remote(num_cpus=0, num_returns="streaming", max_retries=0, **self._stages.placement)(_read)
        try:
            for reference in read.remote(self._stages, PendingUnit.to_table([pending])):
                table = ray.get(reference)
                yield SettledMessage.found_in(table) or RawMessage.from_table(table)
        except RayError as error:
            header = ShardHeader(ShardId(pending.unit.index, 0, False), pending.file.name)
            yield SettledMessage.failed(header, self._stages.read.name, error)

    def _receipt(self, message: RawMessage) -> Receipt:
        header, self._poison_rows, self._lost = message.header, 0, 0
        raw = message.rows.read()
        # Down to the first row and the one beside it, with every piece on the way.
        self._most_lost = len(raw).bit_length() + 2 * _TRIALS
        try:
            shard = _joined(list(self._pieces(header, raw)), self._write.schema)
            self._check_model(shard)
        except _NotTheRowsError as error:
            return self._write.end(SettledMessage.failed(header, ModelStage.name, error))
        try:
            return self._write.end(self._write.commit(header, shard))
        except StorageError as error:
            return self._write.end(SettledMessage.failed(header, self._write.name, error))

    def _check_model(self, shard: FinishedShard) -> None:
        """That all rows of a small shard fail alone says nothing of them while the model never computed any."""
        if not self._poison_rows or len(shard.part):
            return
        if self._lost or not self._write.parts.committed().shards:
            detail = shard.quarantine["detail"][-1].as_py()
            raise _NotTheRowsError(
                f"every row fails alone, and no {'row of this shard' if self._lost else 'shard'} was ever computed, so "
                "the rows are not to blame; try another model, backend or machine, or more memory. The last one: "
                f"{detail}"
            )

    def _pieces(self, header: ShardHeader, raw: pa.Table) -> Iterator[FinishedShard]:
        """The rows of a shard in order, in pieces that could be computed, or are one poison row in quarantine."""
        piece = RawMessage(header, IpcTable.of(raw)).to_table()
        done = self._tried(piece, _TRIALS if len(raw) == 1 else 1)
        if isinstance(done, ResultsMessage):
            yield FinishedShard.of(done, self._write.schema)
        elif len(raw) > 1:
            shard = header.shard
            self._say(f"shard {shard.unit}-{shard.number}: {len(raw)} rows fail together, halving them")
            middle = len(raw) // 2
            # What the schema says is lost is said once, by the last piece.
            yield from self._pieces(header, raw.slice(0, middle).replace_schema_metadata())
            yield from self._pieces(header, raw.slice(middle))
        else:
            self._poison_rows += 1
            if self._poison_rows > _MOST_POISON_ROWS or not len(raw):
                raise _NotTheRowsError(
                    f"more than {_MOST_POISON_ROWS} rows of one shard fail alone, so the rows are not to blame; try "
                    f"another model, backend or machine, or more memory. The last one: {done.detail}"
                )
            yield self._quarantined(piece, done)

    def _tried(self, piece: pa.Table, trials: int) -> ResultsMessage | Fault:
        fault = Fault(Reason.FAILED, "")
        for _ in range(trials):
            try:
                table = ray.get(self._open_worker().run.remote(piece))
            except RayError as error:
                self.close()
                fault = Fault(Reason.CRASHED, f"the worker died of this row: {last_line(error)}")
            else:
                settled = SettledMessage.found_in(table)
                if settled is None:
                    self._lost = 0
                    return ResultsMessage.from_table(table)
                fault = Fault(Reason.FAILED, settled.error)
                if settled.permanent:
                    raise JobError(f"{settled.error} What is committed stays.")
                if settled.no_room:
                    raise _NotTheRowsError(
                        f"{settled.error}. Others have taken the memory, so the rows are not to blame; run the same "
                        "command again when they are done, or with fewer actors on the device"
                    )
                if settled.device_lost:
                    self._lose_worker(settled.error)
        return fault

    def _lose_worker(self, error: str) -> None:
        """Ends a worker whose device is lost, so that the next piece has a new one."""
        self.close()
        self._lost += 1
        if self._lost > self._most_lost:
            raise _NotTheRowsError(
                f"the device was lost {self._lost} times in a row, in a new process each time and whatever the rows, "
                f"so the rows are not to blame; see to the machine's device, or try another model.device. {error}"
            )

    def _quarantined(self, piece: pa.Table, fault: Fault) -> FinishedShard:
        try:
            quarantine = ray.get(self._open_worker().quarantine_row.remote(piece, fault))
        except RayError as error:
            self.close()
            raise _NotTheRowsError(f"a row crashes whoever reads it: {last_line(error)}") from error
        return FinishedShard(empty_table(self._write.schema), quarantine, ModelRun.begin())

    def _open_worker(self) -> Any:
        """The worker; another one when the last one died."""
        if self._worker is None:
            make: Any = ray.remote(**self._resources, max_restarts=0)(_TrialWorker)
            worker = make.remote(self._stages)
            try:
                ray.get(worker.ready.remote())
            except RayError as error:
                raise JobError(f"no worker can load the model: {last_line(error)}") from error
            self._worker = worker
        return self._worker


def _read(stages: StageList, pending: pa.Table) -> Iterator[pa.Table]:
    yield from stages.read.stage(pending)


def _joined(pieces: Sequence[FinishedShard], schema: pa.Schema) -> FinishedShard:
    stats = PassStats()
    for piece in pieces:
        stats.add(piece.model_run.stats)
    first = pieces[0].model_run
    return FinishedShard(
        part=pa.concat_tables([empty_table(schema), *(piece.part for piece in pieces)]),
        quarantine=pa.concat_tables([piece.quarantine for piece in pieces]).sort_by("place"),
        model_run=replace(first, seconds=time.time() - first.started, stats=stats),
        misfits=sum((piece.misfits for piece in pieces), Counter()),
        samples=ShardSamples.joined([piece.samples for piece in pieces]),
        documents=_sum_of_known([piece.documents for piece in pieces]),
    )


def _sum_of_known(counts: Sequence[int | None]) -> int | None:
    """None where none is known; a piece that is one poison row does not know whether its job has chunks."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
