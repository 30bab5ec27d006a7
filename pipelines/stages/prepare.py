"""The second stage: raw rows become valid rows, quarantine, and windows for the model."""

import os
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from actors.parameters import EmbeddingParameters, QAParameters
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import Rejected, prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from pipelines.output.messages import ShardMessage, write_ipc
from pipelines.planning.row_schema import RowSchema
from pipelines.rows.quarantine import Fault, Reason, quarantine_rows
from pipelines.rows.validation import ValidShard, validate
from pipelines.stages.read import raw_shard

_DETAILS = {
    Reason.NO_TOKENS: "the tokenizer finds nothing in it",
    Reason.QUESTION_TOO_LONG: "the question leaves no room for its passage; raise qa.max_seq_len, "
    "lower qa.doc_stride or set qa.max_question_len",
}


@dataclass(frozen=True)
class PrepareStage:
    """Raw rows → valid rows, quarantine, and windows for the model."""

    layout: RowSchema
    spec: EncoderSpec
    qa: QAParameters | None
    """None: the texts are embedded and nothing is asked."""
    embedding: EmbeddingParameters | None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Prepares one shard."""
        # Ray runs as many of these at once as it has CPU shares; each on all cores would fight the model for them.
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        ticket = ShardMessage.from_table(table)
        if ticket.settled:
            return table
        try:
            return self._prepared(ticket).to_table()
        except Exception as error:  # a row that nobody thought of must not take the other shards with it
            return ticket.failed("prepare", error).to_table()

    def _prepared(self, ticket: ShardMessage) -> ShardMessage:
        valid = validate(raw_shard(ticket), ticket.file, self.layout)
        prepared, rejected = self._prepare(valid.rows)
        rows, quarantine = _split(valid, rejected, ticket.file)
        written = rows.select(["id", *self.layout.carry.names])
        return ticket.with_payloads(
            prepared=prepared.to_ipc(), rows=write_ipc(written), quarantine=write_ipc(quarantine)
        )

    def _prepare(self, rows: pa.Table) -> tuple[Tokenized, Rejected]:
        if self.qa is not None:
            return prepare_pairs(self.spec, self.qa, _one_chunk(rows, "question"), _one_chunk(rows, "context"))
        if self.embedding is not None:
            return prepare_texts(self.spec, self.embedding, _one_chunk(rows, "text"))
        raise ValueError("a task asks for answers, embeddings or both")


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
