"""The last stage of a job: result columns become a committed part, and a receipt for the driver."""

import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.engine.pass_stats import PassStats
from pipelines.output.messages import ShardMessage, read_ipc
from pipelines.output.parts import Parts, encode
from pipelines.output.receipt import SCORE_BINS, Receipt
from pipelines.storage.retry import count_errors


@dataclass(frozen=True)
class ModelWork:
    """What the model actor says of its work on a shard."""

    started: float
    """Seconds of the epoch."""
    seconds: float
    node: str
    """Name of the machine."""
    stats: PassStats = field(default_factory=PassStats)

    @classmethod
    def begin(cls) -> "ModelWork":
        """Starts the clock."""
        return cls(time.time(), 0.0, socket.gethostname())

    def done(self, stats: PassStats) -> "ModelWork":
        """Stops it."""
        return replace(self, seconds=time.time() - self.started, stats=stats)

    def to_table(self) -> pa.Table:
        """A one-row table."""
        return pa.table({name: [value] for name, value in (vars(self) | {"stats": self.stats.to_json()}).items()})

    @classmethod
    def from_table(cls, table: pa.Table) -> "ModelWork":
        """The inverse of `to_table`."""
        row = table.to_pylist()[0]
        return cls(**row | {"stats": PassStats.from_json(row["stats"])})


@dataclass(frozen=True)
class Assembled:
    """A shard as it will be written."""

    part: pa.Table
    """Of the job's schema."""
    quarantine: pa.Table
    """QUARANTINE_SCHEMA."""
    work: ModelWork

    @classmethod
    def of(cls, ticket: ShardMessage, schema: pa.Schema) -> "Assembled":
        """Puts the payloads of a computed shard together."""
        part = read_ipc(ticket.payloads["rows"])
        results = read_ipc(ticket.payloads["results"])
        for name in results.column_names:
            part = part.append_column(name, results.column(name))
        return cls(
            part=part.select(schema.names).cast(schema),
            quarantine=read_ipc(ticket.payloads["quarantine"]),
            work=ModelWork.from_table(read_ipc(ticket.payloads["work"])),
        )

    def receipt(self, ticket: ShardMessage, size: int) -> Receipt:
        """What the driver is told, `size` being the part's in bytes."""
        best = _best_answers(self.part)
        return Receipt(
            shard=ticket.shard,
            file=ticket.file,
            store_errors=ticket.store_errors,
            rows=len(self.part),
            quarantined=len(self.quarantine),
            answered=len(self.part) if best is None else len(best) - best["answer"].null_count,
            bytes=size,
            started=self.work.started,
            seconds=self.work.seconds,
            committed=time.time(),
            node=self.work.node,
            reasons=Counter(self.quarantine["reason"].to_pylist()),
            scores=() if best is None else _score_bins(best),
            stats=self.work.stats,
        )


@dataclass(frozen=True)
class WriteStage:
    """Commits shards."""

    parts: Parts
    schema: pa.Schema
    metadata: Mapping[str, str]
    rehearsal: bool = False
    """Only says what would be written."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Commits one shard."""
        return Receipt.to_table([self.receipt_of(ShardMessage.from_table(table))])

    def receipt_of(self, ticket: ShardMessage) -> Receipt:
        """Commits one shard, unless there is nothing left to do for it."""
        if ticket.settled:
            return Receipt.of_settled(ticket, time.time())
        with count_errors() as errors:
            try:
                assembled = Assembled.of(ticket, self.schema)
                size = self.write(ticket, assembled)
            except Exception as error:  # one shard that cannot be written must not take the others with it
                return Receipt.of_settled(ticket.failed("write", error).with_errors(errors.total), time.time())
        return assembled.receipt(ticket.with_errors(errors.total), size)

    def write(self, ticket: ShardMessage, assembled: Assembled) -> int:
        """Writes quarantine and part; returns the part's size in bytes."""
        if self.rehearsal:
            return len(encode(assembled.part, self.parts.format, self.metadata))
        return self.parts.commit(ticket.shard, assembled.part, assembled.quarantine, self.metadata)


def _best_answers(part: pa.Table) -> pa.Table | None:
    """Columns answer and score of every row's best answer; None in an embedding job."""
    if "answer" in part.column_names:
        return part.select(["answer", "score"])
    if "answers" not in part.column_names:
        return None
    if not len(part):
        return pa.table({"answer": pa.array([], pa.string()), "score": pa.array([], pa.float64())})
    best = pc.list_element(part["answers"], 0)
    return pa.table({name: pc.struct_field(best, name) for name in ("answer", "score")})


def _score_bins(best: pa.Table) -> tuple[int, ...]:
    scores = best["score"].filter(best["answer"].is_valid()).to_numpy()
    counts, _ = np.histogram(np.clip(scores, 0.0, 1.0), bins=SCORE_BINS, range=(0.0, 1.0))
    return tuple(counts.tolist())
