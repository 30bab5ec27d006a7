"""The config of a job: pydantic models, one field per key, read from YAML and from `--set key=value`."""

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from actors.parameters import (
    AttentionParameters,
    BatchingParameters,
    ChunkParameters,
    EmbeddingParameters,
    ModelParameters,
    QAParameters,
    Settings,
    TokenVectorParameters,
)
from actors.registry import check_name
from pipelines.config.column_types import parse_type
from pipelines.config.input_formats import FORMATS
from pipelines.config.quarantine_limit import QuarantineLimit
from pipelines.config.writers import PART_FORMATS, SINKS

ColumnName = Literal["answers", "embedding", "tokens", "token_vectors", "hidden", "attention", "attribution"]
COLUMN_NAMES: tuple[ColumnName, ...] = get_args(ColumnName)
"""Values of `output.columns`, in the order in which the columns are written."""

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

    columns: tuple[ColumnName, ...] | None = None
    """What the model gives to every row, any of: answers (with score and place), embedding, tokens, token_vectors,
    hidden, attention, attribution; docs/columns.md tells what they are and cost. null: answers, and embedding where the
    job has one."""

    storage: dict[str, object] = {}
    """fsspec options for the output: endpoint, credentials. Never written to the output."""

    @field_validator("columns")
    @classmethod
    def _each_once(cls, columns: tuple[ColumnName, ...] | None) -> tuple[ColumnName, ...] | None:
        if columns is None:
            return None
        if not columns:
            raise ValueError("no column is named; name at least one, or leave it out for the usual ones")
        if len(set(columns)) < len(columns):
            raise ValueError(f"a column is named twice: {', '.join(columns)}")
        return tuple(name for name in COLUMN_NAMES if name in columns)

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

    tenant: str | None = None
    """Tenant of the service whose share of the replicas the job takes (kind serve, docs/tenants.md); null: default."""

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
    def _shares(self) -> "PoolParameters":
        if self.tenant is not None and self.kind == "own":
            raise ValueError(
                f"tenant ({self.tenant}) says whose share of a service's replicas a job takes, and this one has actors "
                "of its own; leave it out, or share a service with --pool serve (pool.kind: serve)"
            )
        return self

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
    """The cluster that runs the job, and the number of rounds over missing shards."""

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

    token_vectors: TokenVectorParameters = TokenVectorParameters()
    """The column token_vectors, where output.columns names it."""

    attention: AttentionParameters = AttentionParameters()
    """The column attention, where output.columns names it."""

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

    @model_validator(mode="after")
    def _written(self) -> "JobConfig":
        named = self.output.columns or ()
        if taken := [name for name in self.corpus.carry if name in named]:
            raise ValueError(
                f"corpus.carry and output.columns both name {taken[0]!r}, and a part has one column of a name; rename "
                "the input's, or leave one of them out"
            )
        if self.token_vectors != TokenVectorParameters() and "token_vectors" not in named:
            raise ValueError("token_vectors is set, and output.columns does not name it: add token_vectors there")
        if self.attention != AttentionParameters() and "attention" not in named:
            raise ValueError("attention is set, and output.columns does not name it: add attention there")
        return self

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
        _check_vectors(self, self.embedding)
        if self.embedding is not None and (self.embedding.max_seq_len is not None or self.embedding.doc_stride):
            raise ValueError(
                "embedding.max_seq_len and embedding.doc_stride have no use beside answers: the windows are qa's; "
                "leave them out, or set qa.max_seq_len and qa.doc_stride"
            )
        named, is_set = self.output.columns, self.embedding not in (None, EmbeddingParameters())
        if is_set and named is not None and not {"embedding", "hidden"} & set(named):
            raise ValueError("embedding is set, and output.columns does not name it: add embedding or hidden there")
        return self


class EmbedConfig(JobConfig):
    """`spanmill embed`: one vector per text."""

    embedding: EmbeddingParameters = EmbeddingParameters()
    """How embeddings are made."""

    chunk: ChunkParameters | None = None
    """Cut every text into chunks and write a row for each, as {tokens: 256, by: sentence} (docs/chunks.md); null writes
    one row for each text."""

    @field_validator("embedding")
    @classmethod
    def _of_texts(cls, embedding: EmbeddingParameters) -> EmbeddingParameters:
        if embedding.of != "passage":
            raise ValueError("of is for answer jobs: rows of an embed job have no question; leave it out")
        return embedding

    @model_validator(mode="after")
    def _no_questions(self) -> "EmbedConfig":
        if asking := [name for name in self.output.columns or () if name in ("answers", "attribution")]:
            raise ValueError(
                f"output.columns names {asking[0]}, and a job that embeds asks nothing; run `spanmill answer` for it, "
                f"or leave it out"
            )
        _check_vectors(self, self.embedding)
        return self

    @model_validator(mode="after")
    def _pools_chunks(self) -> "EmbedConfig":
        if self.chunk is None:
            return self
        if self.output.columns not in (None, ("embedding",)):
            raise ValueError(
                "output.columns names more than embedding, and the rows of a job with chunk are chunks, which have "
                "nothing else; leave out either"
            )
        if self.chunk.context == "document" and self.embedding.pooling != "mean":
            raise ValueError(
                f"chunk.context is document, which means the vectors of each chunk's tokens, and embedding.pooling is "
                f"{self.embedding.pooling}; set embedding.pooling: mean, or chunk.context: chunk"
            )
        return self


def _check_vectors(config: JobConfig, embedding: EmbeddingParameters | None) -> None:
    """Raises ValueError where the vectors do not go with the other columns."""
    named = config.output.columns
    written = embedding.columns if embedding is not None and (named is None or "embedding" in named) else ()
    if taken := [name for name in config.corpus.carry if name in written]:
        raise ValueError(
            f"corpus.carry names {taken[0]!r}, and the vectors are written to a column of that name; rename the "
            "input's, or leave it out"
        )
    if named is not None and "hidden" in named and embedding is not None and not embedding.is_one_mean:
        raise ValueError(
            "output.columns names hidden, whose vectors are pooled as embedding.pooling and embedding.of say: name one "
            "text, and one pooling of mean, cls and last; or leave hidden out"
        )


OfflineConfig = AnswerConfig | EmbedConfig
"""The config of any offline job."""


class StatusConfig(BaseModel):
    """The part of any job's config that `spanmill status` needs: how to reach the output."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    output: OutputParameters = OutputParameters()
    """What was written."""
