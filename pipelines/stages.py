"""The four stages of a job as Ray Data runs them: read, prepare, model, write.

Every stage takes and gives one-row tables (`Ticket`). A stage that cannot do its work says so in the ticket and
goes on with the next shard: one bad file or shard never takes the others with it.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from actors.errors import ModelError
from actors.layout import EncoderSpec
from actors.parameters import BatchingParameters, EmbeddingParameters, ModelParameters, QAParameters
from actors.prepare import Rejected, prepare_pairs, prepare_texts
from actors.prepared import Prepared
from actors.stats import PassStats
from pipelines.errors import SpanmillError
from pipelines.layout import Layout
from pipelines.quarantine import Fault, Reason, quarantine_rows
from pipelines.readers import RawShard, read_unit
from pipelines.receipts import Receipt
from pipelines.rows import ValidShard, validate
from pipelines.shards import PartFormat, commit
from pipelines.storage import Store
from pipelines.tickets import Ticket, read_ipc, write_ipc
from pipelines.work import Work

if TYPE_CHECKING:
    from actors.model_actor import Task

_DETAILS = {
    Reason.NO_TOKENS: "the tokenizer finds nothing in it",
    Reason.QUESTION_TOO_LONG: "the question leaves no room for its passage; raise qa.max_seq_len, "
    "lower qa.doc_stride or set qa.max_question_len",
}


@dataclass(frozen=True)
class ReadStage:
    """A read unit → its shards that are not committed yet, one by one."""

    layout: Layout
    storage: Mapping[str, object]

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Streams the shards of the units in `table` (see `Work.to_table`)."""
        for work in Work.from_table(table):
            number = 0
            try:
                for raw in read_unit(work.file, work.unit, self.layout, self.storage, work.committed):
                    number = raw.number + 1
                    ticket = Ticket(raw.unit, raw.number, raw.last, work.file.name)
                    yield ticket.with_payloads(raw=write_ipc(raw.table)).to_table()
            except Exception as error:  # whatever a file's bytes or a store's package do, the other units must go on
                yield Ticket(work.unit.index, number, False, work.file.name, _reason(error)).to_table()


@dataclass(frozen=True)
class PrepareStage:
    """Raw rows → valid rows, quarantine, and windows for the model."""

    layout: Layout
    spec: EncoderSpec
    qa: QAParameters | None
    """None: the texts are embedded and nothing is asked."""
    embedding: EmbeddingParameters | None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Prepares one shard."""
        # Ray runs as many of these at once as it has CPU shares; each on all cores would fight the model for them.
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        ticket = Ticket.from_table(table)
        if ticket.error:
            return table
        try:
            return self._prepared(ticket).to_table()
        except Exception as error:  # a row that nobody thought of must not take the other shards with it
            return ticket.failed(_reason(error)).to_table()

    def _prepared(self, ticket: Ticket) -> Ticket:
        raw = RawShard(ticket.unit, ticket.number, ticket.last, read_ipc(ticket.payloads["raw"]))
        valid = validate(raw, ticket.file, self.layout)
        prepared, rejected = self._prepare(valid.rows)
        rows, quarantine = _split(valid, rejected, ticket.file)
        written = rows.select(["id", *self.layout.carry.names])
        return ticket.with_payloads(
            prepared=prepared.to_ipc(), rows=write_ipc(written), quarantine=write_ipc(quarantine)
        )

    def _prepare(self, rows: pa.Table) -> tuple[Prepared, Rejected]:
        if self.qa is not None:
            return prepare_pairs(self.spec, self.qa, _one_chunk(rows, "question"), _one_chunk(rows, "context"))
        if self.embedding is not None:
            return prepare_texts(self.spec, self.embedding, _one_chunk(rows, "text"))
        raise ValueError("a task asks for answers, embeddings or both")


class ModelStage:
    """Windows → result columns; one of these is one model actor of the pool."""

    def __init__(self, model: ModelParameters, batching: BatchingParameters, task: "Task", fingerprint: str) -> None:
        """Loads the model, which must be the one that the driver saw."""
        # Here and not above: torch takes seconds and hundreds of MB, in every worker of the other stages too.
        from actors.model_actor import ModelActor

        self._actor = ModelActor(model, batching, task, fingerprint)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Runs one shard."""
        ticket = Ticket.from_table(table)
        if ticket.error:
            return table
        try:
            results, stats = self._actor.process(ticket.payloads["prepared"])
        except Exception as error:  # whatever a runtime throws, the other shards must go on
            return ticket.failed(_reason(error)).to_table()
        stats_table = pa.table({"stats": [stats.to_json()]})
        return ticket.with_payloads(
            results=write_ipc(results),
            stats=write_ipc(stats_table),
            rows=ticket.payloads["rows"],
            quarantine=ticket.payloads["quarantine"],
        ).to_table()


@dataclass(frozen=True)
class WriteStage:
    """Result columns → a committed part, and a receipt for the driver."""

    store: Store
    job8: str
    format: PartFormat
    schema: pa.Schema
    metadata: Mapping[str, str]

    def __call__(self, table: pa.Table) -> pa.Table:
        """Commits one shard."""
        ticket = Ticket.from_table(table)
        if ticket.error:
            return Receipt.of_failure(ticket).to_table()
        try:
            return self._commit(ticket).to_table()
        except Exception as error:  # as above
            return Receipt.of_failure(ticket.failed(_reason(error))).to_table()

    def _commit(self, ticket: Ticket) -> Receipt:
        part = read_ipc(ticket.payloads["rows"])
        results = read_ipc(ticket.payloads["results"])
        for name in results.column_names:
            part = part.append_column(name, results.column(name))
        part = part.select(self.schema.names).cast(self.schema)
        quarantine = read_ipc(ticket.payloads["quarantine"])
        stats = PassStats.from_json(read_ipc(ticket.payloads["stats"])["stats"][0].as_py())
        commit(self.store, ticket.shard, self.job8, self.format, part, quarantine, self.metadata)
        return Receipt(ticket.shard, "", len(part), len(quarantine), _answered(part), stats)


def _answered(part: pa.Table) -> int:
    """Rows whose best answer is not null; without answers, all rows."""
    if "answers" in part.column_names and len(part):
        best = pc.struct_field(pc.list_element(part["answers"], 0), "answer")
        return len(part) - int(best.null_count)
    return len(part) - int(part["answer"].null_count) if "answer" in part.column_names else len(part)


def _split(valid: ValidShard, rejected: Rejected, file_name: str) -> tuple[pa.Table, pa.Table]:
    """The rows that were prepared, and the quarantine with those that could not be, by their place in the file."""
    if not len(rejected.rows):
        return valid.rows, valid.quarantine
    faults = {
        int(row): Fault(Reason(reason), _DETAILS[Reason(reason)])
        for row, reason in zip(rejected.rows, rejected.reasons, strict=True)
    }
    added = quarantine_rows(valid.rows, valid.rows["id"], valid.places, file_name, faults)
    kept = np.ones(len(valid.rows), dtype=bool)
    kept[rejected.rows] = False
    quarantine = pa.concat_tables([valid.quarantine, added]).sort_by("place")
    return valid.rows.filter(pa.array(kept)), quarantine


def _reason(error: Exception) -> str:
    """Our own errors say what to do; of others, the kind says most."""
    return str(error) if isinstance(error, SpanmillError | ModelError) else f"{type(error).__name__}: {error}"


def _one_chunk(rows: pa.Table, name: str) -> pa.StringArray:
    return pa.concat_arrays(rows.column(name).chunks) if rows.num_rows else pa.array([], pa.string())
