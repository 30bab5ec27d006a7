"""The second stage: rows are checked, bad ones go to quarantine, and good ones are tokenised into windows."""

import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from actors.parameters import ChunkParameters, EmbeddingParameters, QAParameters
from actors.tokenization.chunked_texts import prepare_chunks
from actors.tokenization.encoder_spec import EncoderSpec
from actors.tokenization.preprocess import Rejected, prepare_pairs, prepare_texts
from actors.tokenization.tokenized import Tokenized
from pipelines.output.row_samples import Sampling
from pipelines.planning.row_schema import RowSchema
from pipelines.rows.misfits import with_misfits
from pipelines.rows.quarantine import Fault, Reason, quarantine_rows
from pipelines.rows.shard_reader import RawShard
from pipelines.rows.validation import ValidShard, validate
from pipelines.stages.base import ShardStage
from pipelines.stages.messages import IpcTable, RawMessage, TokenizedMessage

_DETAILS = {
    Reason.NO_TOKENS: "the tokenizer finds nothing in it",
    Reason.QUESTION_TOO_LONG: "the question leaves no room for its passage; raise qa.max_seq_len, "
    "lower qa.doc_stride or set qa.max_question_len",
}


@dataclass(frozen=True)
class PrepareStage(ShardStage[RawMessage, TokenizedMessage]):
    """Raw rows → valid rows, quarantine, and windows for the model."""

    layout: RowSchema
    spec: EncoderSpec
    qa: QAParameters | None
    """None: the texts are embedded and nothing is asked."""
    embedding: EmbeddingParameters | None
    sampling: Sampling = field(default_factory=Sampling)
    """Which rows the report may show."""
    keep_texts: bool = False
    """Whether the model stage needs the texts and the places of all tokens (`Wanted.needs_texts`)."""
    chunk: ChunkParameters | None = None
    """How texts are cut into chunks that are embedded each for itself; None: one embedding for each text."""

    name = "prepare"
    takes = RawMessage

    def process(self, message: RawMessage) -> TokenizedMessage:
        """Prepares one shard."""
        # Ray runs as many of these at once as it has CPU shares; each on all cores would fight the model for them.
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        file = message.header.file
        valid = validated(message, self.layout)
        windows, rejected, chunks = self.tokenized(valid.rows)
        rows, quarantine = _split(valid, rejected, file)
        written = rows.select(["id", *self.layout.carry.names])
        kept = np.delete(np.arange(len(valid.rows)), rejected.rows)
        misfits = Counter({key: int(flags[kept].sum()) for key, flags in valid.misfits.items() if flags[kept].any()})
        return TokenizedMessage(
            message.header,
            IpcTable.of(written),
            IpcTable.of(with_misfits(quarantine, misfits)),
            IpcTable(windows.to_ipc()),
            IpcTable.of(self.sampling.candidates(message.header.shard, rows)),
            IpcTable.of(chunks),
        )

    def tokenized(self, rows: pa.Table) -> tuple[Tokenized, Rejected, pa.Table]:
        """The windows of valid rows, which of them cannot be cut into any, and the chunks of the others: a table
        without columns where there are none.
        """
        if self.qa is not None:
            pairs = _one_array(rows, "question"), _one_array(rows, "context")
            return *prepare_pairs(self.spec, self.qa, *pairs, keep_texts=self.keep_texts), pa.table({})
        if self.embedding is None:
            raise ValueError("neither qa nor embedding says how texts are cut into windows")
        texts = _one_array(rows, "text")
        if self.chunk is not None:
            return prepare_chunks(self.spec, self.embedding, self.chunk, texts)
        return *prepare_texts(self.spec, self.embedding, texts, keep_texts=self.keep_texts), pa.table({})


def validated(message: RawMessage, layout: RowSchema) -> ValidShard:
    """The rows that were read, each valid or in quarantine."""
    shard = message.header.shard
    raw = RawShard(shard.unit, shard.number, shard.last, message.rows.read())
    return validate(raw, message.header.file, layout)


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


def _one_array(rows: pa.Table, name: str) -> pa.StringArray:
    return pa.concat_arrays(rows.column(name).chunks) if rows.num_rows else pa.array([], pa.string())
