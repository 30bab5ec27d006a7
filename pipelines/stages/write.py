"""The last stage of a job: result columns become a committed part, and a receipt for the driver."""

import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.engine.output_columns import vector_names
from actors.tracing.context import TraceContext
from pipelines.output.receipt import SCORE_BINS, Receipt
from pipelines.output.row_samples import CANDIDATE_SCHEMA, ShardSamples, best_answers
from pipelines.output.sinks.base import Sink
from pipelines.rows.misfits import MisfitCounts, misfits_of
from pipelines.schemas import DOCUMENT_ID, empty_table
from pipelines.stages.base import ShardStage
from pipelines.stages.messages import ResultsMessage, SettledMessage, ShardHeader, ShardMessage
from pipelines.stages.model.run import ModelRun
from pipelines.stages.tracing import trace_shard


@dataclass(frozen=True)
class FinishedShard:
    """A shard as it will be written."""

    part: pa.Table
    """Of the job's schema."""
    quarantine: pa.Table
    """QUARANTINE_SCHEMA."""
    model_run: ModelRun
    misfits: MisfitCounts = field(default_factory=Counter)
    """Rows of the part with a value that could not be written as it is."""
    samples: ShardSamples = field(default_factory=ShardSamples)
    """What the report may show of it."""
    documents: int | None = None
    """Input rows that the part has chunks of, each a row; None where every input row is one row of it."""

    @property
    def rows(self) -> int:
        """Input rows in the part."""
        return len(self.part) if self.documents is None else self.documents

    @classmethod
    def of(cls, message: ResultsMessage, schema: pa.Schema) -> "FinishedShard":
        """Puts rows and result columns of a computed shard together."""
        rows, columns, chunks = message.rows.read(), message.columns.read(), message.chunks.read()
        is_chunked = bool(chunks.column_names)
        part = _chunk_rows(rows, chunks) if is_chunked else rows
        for name in columns.column_names:
            part = part.append_column(name, columns.column(name))
        quarantine = message.quarantine.read()
        part = part.select(schema.names).cast(schema)
        return cls(
            part=part,
            quarantine=quarantine.replace_schema_metadata(),
            model_run=ModelRun.from_table(message.model_run.read()),
            misfits=misfits_of(quarantine),
            samples=_samples(_of_first_chunks(message.candidates.read(), chunks), part),
            documents=len(rows) if is_chunked else None,
        )


@dataclass(frozen=True)
class WrittenMessage(ShardMessage):
    """A shard that is committed. It never travels: what leaves the last stage is its receipt."""

    shard: FinishedShard
    size: int
    """Of the part, bytes."""

    def receipt(self) -> Receipt:
        """What the driver is told."""
        part, quarantine, run = self.shard.part, self.shard.quarantine, self.shard.model_run
        best = best_answers(part)
        return Receipt(
            shard=self.header.shard,
            file=self.header.file,
            store_errors=self.header.store_errors,
            rows=self.shard.rows,
            chunks=None if self.shard.documents is None else len(part),
            quarantined=len(quarantine),
            answered=self.shard.rows if best is None else len(best) - best["answer"].null_count,
            bytes=self.size,
            started=run.started,
            seconds=run.seconds,
            committed=time.time(),
            node=run.node,
            reasons=Counter(quarantine["reason"].to_pylist()),
            scores=() if best is None else _score_bins(best),
            stats=run.stats,
            misfits=self.shard.misfits,
            samples=self.shard.samples.to_json(),
            agreement=run.agreement.to_json(),
        )


@dataclass(frozen=True)
class WriteStage(ShardStage[ResultsMessage, WrittenMessage]):
    """Commits shards."""

    parts: Sink
    schema: pa.Schema
    metadata: Mapping[str, str]
    rehearsal: bool = False
    """Only says what would be written."""
    trace: TraceContext | None = None
    """The span of the job; None where it is not traced."""

    name = "write"
    takes = ResultsMessage

    def __call__(self, table: pa.Table) -> pa.Table:
        """Commits one shard, unless there is nothing left to do for it; gives a row of RECEIPT_SCHEMA."""
        return Receipt.to_table([self.end(self.outcome(table))])

    def end(self, done: WrittenMessage | SettledMessage) -> Receipt:
        """The receipt of a shard that is committed now, or given up; its trace has the whole of it then."""
        receipt = done.receipt(time.time()) if isinstance(done, SettledMessage) else done.receipt()
        if receipt.failed_in == self.name:
            # Others may reach the store that this machine cannot.
            receipt = replace(receipt, node=socket.gethostname())
        trace_shard(self.trace, done.header, receipt)
        return receipt

    def process(self, message: ResultsMessage) -> WrittenMessage:
        """Commits one shard."""
        return self.commit(message.header, FinishedShard.of(message, self.schema))

    def commit(self, header: ShardHeader, shard: FinishedShard) -> WrittenMessage:
        """Writes quarantine and part.

        Raises:
            StorageError: they cannot be written; nothing of the part is visible then.
        """
        known = {} if shard.documents is None else {"documents": str(shard.documents)}
        metadata = {**self.metadata, **known}
        if self.rehearsal:
            size = len(self.parts.encode(shard.part, metadata))
        else:
            size = self.parts.commit(header.shard, shard.part, shard.quarantine, metadata)
        return WrittenMessage(header, shard, size)

    def empty_part_bytes(self) -> int:
        """Size of a part without rows."""
        return len(self.parts.encode(empty_table(self.schema), self.metadata))


def _chunk_rows(rows: pa.Table, chunks: pa.Table) -> pa.Table:
    """A row for every chunk: its own id, and what the row of its text carries.

    Args:
        rows: id and the carried columns.
        chunks: CHUNK_SCHEMA.
    """
    repeated = rows.take(chunks["row"])
    ids = pc.binary_join_element_wise(repeated["id"], chunks["key"], "#")
    carried = {name: repeated[name] for name in rows.column_names[1:]}
    # Where the texts of chunks are not written, a column of that name may be carried.
    places = {name: chunks[name] for name in ("chunk", "start", "end", "text") if name not in carried}
    return pa.table({"id": ids, DOCUMENT_ID.name: repeated["id"], **carried, **places})


def _of_first_chunks(candidates: pa.Table, chunks: pa.Table) -> pa.Table:
    """Candidates whose `row` is that of the part: of a text in chunks, its first one."""
    if not chunks.column_names:
        return candidates
    first = np.searchsorted(chunks["row"].to_numpy(), candidates["row"].to_numpy())
    return candidates.set_column(0, CANDIDATE_SCHEMA.field("row"), pa.array(first, pa.int64()))


def _samples(candidates: pa.Table, part: pa.Table) -> ShardSamples:
    if not len(candidates):
        # As of most shards of a large job: the best answers need not be looked for.
        return ShardSamples()
    names = vector_names(part.column_names)
    return ShardSamples.of(candidates, best_answers(part), part[names[0]] if names else None)


def _score_bins(best: pa.Table) -> tuple[int, ...]:
    scores = best["score"].filter(best["answer"].is_valid()).to_numpy()
    counts, _ = np.histogram(np.clip(scores, 0.0, 1.0), bins=SCORE_BINS, range=(0.0, 1.0))
    return tuple(counts.tolist())
