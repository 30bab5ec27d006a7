"""The config of a job: pydantic models, one field per key, read from YAML and from `--set key=value`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from actors.parameters import (
    BatchingParameters,
    ChunkParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    Settings,
)
from actors.registry import check_name
from pipelines.config.column_types import parse_type
from pipelines.config.input_formats import FORMATS
from pipelines.config.quarantine_limit import QuarantineLimit
from pipelines.config.writers import PART_FORMATS, SINKS

Damaged = Literal["fail", "quarantine"]
"""What happens to a damaged file: its read unit fails, or its readable rows are used."""


def keeps_rest(damaged: Damaged) -> bool:
    """True where the rows that can be read of a damaged file go on, and what is lost goes into quarantine."""
    return damaged == "quarantine"


class Columns(Settings):
    """Which column of the input holds what."""

    id: str = "id"
    """Identifier of a row: text, or a whole number. A missing or null one, or one of another kind, becomes `file:row`
    (Parquet) or `file@byte` (JSONL). A column that is named here has to be in some file."""

    question: str = "question"
    """The question (answer jobs)."""

    context: str = "context"
    """The passage that the question is asked of (answer jobs)."""

    text: str = "text"
    """The text to embed (embed jobs)."""


class CorpusParameters(Settings):
    """What is read, and how it is cut into read units and shards."""

    format: str = "auto"
    """auto goes by the file's name: .parquet, .jsonl / .ndjson / .json, JSON also with .gz or .zst; whether it is lines
    or one document is seen in the file. Otherwise the format of all files: parquet, jsonl, json (documents), or the
    place of another one, package.module:OBJECT."""

    columns: Columns = Columns()
    """Names of the input's columns."""

    carry: tuple[str, ...] = ()
    """Further input columns to write through to the output, by name. A column has one type in all files: the one that
    holds what their schemas and beginnings show; docs/bad-input.md has the table.
    """

    types: dict[str, str] = {}
    """Types of carried columns that are fixed by hand, as {zip: string}; string writes what is no text as JSON."""

    shard_rows: int | None = Field(default=None, ge=1)
    """Rows of a shard, the unit of work and of commit; null chooses by the size of the corpus and by qa.top_k."""

    unit_bytes: int = Field(default=64 << 20, ge=1)
    """Bytes that one read task streams: row groups are packed, and plain JSONL is cut, to about this size."""

    max_text_bytes: int = Field(default=4 << 20, ge=1)
    """Longest question, context or text in bytes; a longer one is quarantined as text_too_long."""

    damaged: Damaged = "fail"
    """What to do with a damaged file: fail names it, and the job stays incomplete; quarantine goes on with what can be
    read of it, and puts a row into quarantine that says what is lost."""

    storage: dict[str, object] = {}
    """fsspec options for the input: endpoint, credentials. Never written to the output."""

    @field_validator("format")
    @classmethod
    def _is_format(cls, name: str) -> str:
        return check_name(("auto", *FORMATS), name)

    @field_validator("types")
    @classmethod
    def _are_types(cls, types: dict[str, str]) -> dict[str, str]:
        for name in types.values():
            parse_type(name)
        return types

    @model_validator(mode="after")
    def _are_carried(self) -> "CorpusParameters":
        for name in self.types:
            if name not in self.carry:
                raise ValueError(f"types: {name!r} is not carried; add it to corpus.carry, or leave it out")
        return self


class OutputParameters(Settings):
    """What is written."""

    format: str = "parquet"
    """Format of the parts: parquet (with zstd) or jsonl (plain), or a format of your own, package.module:OBJECT."""

    sink: str = "folder"
    """Where the parts go: folder, one file for every shard in OUTPUT; or a class of your own, package.module:CLASS."""

    storage: dict[str, object] = {}
    """fsspec options for the output: endpoint, credentials. Never written to the output."""

    @field_validator("format")
    @classmethod
    def _is_format(cls, name: str) -> str:
        return check_name(PART_FORMATS, name)

    @field_validator("sink")
    @classmethod
    def _is_sink(cls, name: str) -> str:
        return check_name(SINKS, name)


class PoolParameters(Settings):
    """The model actors of a job."""

    kind: Literal["own", "serve"] = "own"
    """own: actors of the job's own; serve: the replicas of a running `spanmill serve`, which answer online requests
    first. size is then the number of feeders; null: one for each replica that runs."""

    application: str = "spanmill"
    """Name of the Ray Serve application (kind serve)."""

    size: int | None = Field(default=None, ge=1)
    """Model actors; with max_size, the fewest. null: one per GPU of the cluster, or one where there is none."""

    max_size: int | None = Field(default=None, ge=1)
    """Lets the pool grow to this many actors; null keeps it fixed."""

    cpus: float | None = Field(default=None, ge=0.0)
    """CPUs that Ray reserves for one actor (its threads are `model.threads`); null: 1, less on a machine of one CPU."""

    gpus: float | None = Field(default=None, ge=0.0)
    """GPUs that Ray reserves for one actor; null: 1 where the cluster has GPUs, else 0."""

    price_per_hour: float | None = Field(default=None, ge=0.0)
    """Price of one actor's share of a machine per hour, in any currency: `--estimate` makes costs of it."""

    @model_validator(mode="after")
    def _grows(self) -> "PoolParameters":
        if self.max_size is not None and self.max_size < (self.size or 1):
            raise ValueError(f"max_size ({self.max_size}) is less than size ({self.size or 1})")
        return self


class ClusterParameters(Settings):
    """The Ray cluster that a command runs on."""

    address: str | None = None
    """A running cluster (auto, host:6379, ray://host:10001); null uses RAY_ADDRESS, or starts a local one."""

    object_store_mb: int | None = Field(default=None, ge=80)
    """Object store of a local cluster, in MiB; null takes a quarter of the memory, 2 GiB at most."""

    metrics_port: int | None = Field(default=None, ge=1024, le=65535)
    """Port on which a local cluster exports metrics for Prometheus; null takes a free one, which --log names."""


class RayParameters(ClusterParameters):
    """The cluster that runs the job, and the number of passes over missing shards."""

    passes: int = Field(default=3, ge=1)
    """How often the job goes over the shards that are still missing before it gives up."""


class JobConfig(Settings):
    """Keys that every offline job has."""

    model: ModelParameters = ModelParameters()
    """Which model runs."""

    corpus: CorpusParameters = CorpusParameters()
    """What is read."""

    output: OutputParameters = OutputParameters()
    """What is written."""

    pool: PoolParameters = PoolParameters()
    """Model actors."""

    batching: BatchingParameters = BatchingParameters()
    """Limits of the adaptive batcher."""

    ray: RayParameters = RayParameters()
    """Ray cluster."""

    max_quarantined: str | int | None = "50%"
    """Most rows that may end in quarantine, a number (100) or a share (0.5%); more of them fail the job, and it gets no
    _SUCCESS. null sets no limit."""

    poison_exit_code: Literal[0, 3] = 3
    """Exit code of a job that is complete, but for quarantined rows that broke the model or its worker. 0 is for
    schedulers that try a job again after any other one, as a RayJob of Kubernetes does."""

    @field_validator("max_quarantined")
    @classmethod
    def _readable(cls, value: str | int | None) -> str | int | None:
        if value is not None:
            QuarantineLimit.parse(str(value))
        return value

    @property
    def quarantine_limit(self) -> QuarantineLimit | None:
        """`max_quarantined`, parsed; None for no limit."""
        return None if self.max_quarantined is None else QuarantineLimit.parse(str(self.max_quarantined))


class AnswerConfig(JobConfig):
    """`spanmill answer`: the answer of every question, read off its passage."""

    qa: QAParameters = QAParameters()
    """How answers are found."""

    embedding: EmbeddingParameters | None = None
    """Also write the embedding of every row's passage tokens, from the same forward pass; null does not."""

    @model_validator(mode="before")
    @classmethod
    def _no_chunks(cls, keys: object) -> object:
        if isinstance(keys, Mapping) and keys.get("chunk") is not None:
            raise ValueError(
                "chunk is a key of embed jobs: an answer job reads every passage whole, in windows of qa.max_seq_len "
                "tokens, and has a row for each question. Leave chunk out, or run spanmill embed"
            )
        return keys

    @model_validator(mode="after")
    def _one_cut(self) -> "AnswerConfig":
        if self.embedding is not None and (self.embedding.max_seq_len is not None or self.embedding.doc_stride):
            raise ValueError(
                "embedding.max_seq_len and embedding.doc_stride have no use beside answers: the windows are qa's; "
                "leave them out, or set qa.max_seq_len and qa.doc_stride"
            )
        return self


class EmbedConfig(JobConfig):
    """`spanmill embed`: one vector per text."""

    embedding: EmbeddingParameters = EmbeddingParameters()
    """How embeddings are made."""

    chunk: ChunkParameters | None = None
    """Cut every text into chunks and write a row for each, as {tokens: 256, by: sentence} (docs/chunks.md); null writes
    one row for each text."""

    @model_validator(mode="after")
    def _pools_chunks(self) -> "EmbedConfig":
        if self.chunk is not None and self.chunk.context == "document" and self.embedding.pooling != "mean":
            raise ValueError(
                f"chunk.context is document, which means the vectors of each chunk's tokens, and embedding.pooling is "
                f"{self.embedding.pooling}; set embedding.pooling: mean, or chunk.context: chunk"
            )
        return self


OfflineConfig = AnswerConfig | EmbedConfig
"""The config of any offline job."""


class StatusConfig(BaseModel):
    """The part of any job's config that `spanmill status` needs: how to reach the output."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    output: OutputParameters = OutputParameters()
    """What was written."""
