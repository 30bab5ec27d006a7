"""The first three stages of a job as Ray Data runs them: read, prepare, model. The fourth is in `writing`.

Every stage takes and gives one-row tables (`Ticket`). A stage that cannot do its work says so in the ticket and
goes on with the next shard: one bad file or shard never takes the others with it.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import Rejected, prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Prepared
from pipelines.errors import StorageError
from pipelines.output.messages import Ticket, read_ipc, write_ipc
from pipelines.output.parts import Parts
from pipelines.planning.row_schema import Layout
from pipelines.rows.quarantine import Fault, Reason, quarantine_rows
from pipelines.rows.shard_reader import RawShard, read_unit
from pipelines.rows.validation import ValidShard, validate
from pipelines.stages.model_runner import OwnModel, SharedModel
from pipelines.stages.pending_units import Work
from pipelines.stages.write import ModelWork
from pipelines.storage.retry import count_errors

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
            yield from (ticket.to_table() for ticket in self.tickets(work))

    def tickets(self, work: Work) -> Iterator[Ticket]:
        """The shards of one unit; a unit that cannot be read to its end ends with a failed one."""
        number = 0
        shards = read_unit(work.file, work.unit, self.layout, self.storage, work.committed)
        while True:
            with count_errors() as errors:
                try:
                    raw = next(shards, None)
                except Exception as error:  # whatever a file's bytes or a store's package do, the others must go on
                    yield Ticket(work.unit.index, number, False, work.file.name, store_errors=errors.total).failed(
                        "read", error
                    )
                    return
            if raw is None:
                return
            number = raw.number + 1
            ticket = Ticket(raw.unit, raw.number, raw.last, work.file.name, store_errors=errors.total)
            yield ticket.with_payloads(raw=write_ipc(raw.table))


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
        if ticket.settled:
            return table
        try:
            return self._prepared(ticket).to_table()
        except Exception as error:  # a row that nobody thought of must not take the other shards with it
            return ticket.failed("prepare", error).to_table()

    def _prepared(self, ticket: Ticket) -> Ticket:
        valid = validate(raw_shard(ticket), ticket.file, self.layout)
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
        ticket = Ticket.from_table(table)
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

    def _is_committed(self, ticket: Ticket) -> bool:
        try:
            return self._parts is not None and self._parts.has(ticket.shard)
        except StorageError:
            # Looking only saves work; whether the store is really gone is the next stage's to find out.
            return False

    def _computed(self, ticket: Ticket) -> Ticket:
        work = ModelWork.begin()
        results, stats = self._runner.process(ticket.payloads["prepared"])
        return ticket.with_payloads(
            results=write_ipc(results),
            work=write_ipc(work.done(stats).to_table()),
            rows=ticket.payloads["rows"],
            quarantine=ticket.payloads["quarantine"],
        )


def raw_shard(ticket: Ticket) -> RawShard:
    """The rows that the read stage put into a ticket."""
    return RawShard(ticket.unit, ticket.number, ticket.last, read_ipc(ticket.payloads["raw"]))


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


def _one_chunk(rows: pa.Table, name: str) -> pa.StringArray:
    return pa.concat_arrays(rows.column(name).chunks) if rows.num_rows else pa.array([], pa.string())
