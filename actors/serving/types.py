"""Requests, replies and refusals as they travel between gateway and replica, whatever protocol the client speaks."""

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from actors.arrays import Floats
from actors.parameters import AttentionParameters, EmbeddingParameters, QAParameters, TokenVectorParameters
from actors.tenants import DEFAULT_TENANT
from actors.tracing.context import TraceContext

Task = Literal["answer", "embed", "tokens", "encode"]
"""Answers, one vector per text, one vector per token, or columns of texts."""
WINDOWS = "windows"
"""Name of the column of start and end probabilities in a reply; see `actors.engine.decoding.window_probabilities`."""
ANOTHER_MODEL, UNKNOWN_TENANT = "another_model", "unknown_tenant"
"""Reasons for which a replica refuses every piece of a job."""
LongTexts = Literal["window", "cut", "refuse"]
"""What becomes of texts to embed that are longer than a window: pooled over several windows, cut, or refused."""


@dataclass(frozen=True)
class WantedColumns:
    """What a request wants of the encoder itself, beside answers or alone."""

    names: tuple[str, ...] = ()
    """Columns of `actors.engine.output_columns`, those of answers left out."""
    token_vectors: TokenVectorParameters = field(default_factory=TokenVectorParameters)
    """Of the column `token_vectors`."""
    attention: AttentionParameters = field(default_factory=AttentionParameters)
    """Of the column `attention`."""
    probabilities: bool = False
    """Whether the start and end probabilities of every token are wanted, for answers alone."""


@dataclass(frozen=True)
class Request:
    """One online request of R rows."""

    id: str
    """In logs and headers."""
    task: Task
    texts: tuple[str, ...]
    """[R] passages or plain texts."""
    questions: tuple[str, ...] = ()
    """[R] questions; empty unless answers are asked for."""
    qa: QAParameters = field(default_factory=QAParameters)
    embedding: EmbeddingParameters = field(default_factory=EmbeddingParameters)
    columns: WantedColumns = field(default_factory=WantedColumns)
    """None by default; with answers, or in a request for nothing else."""
    long_texts: LongTexts = "window"
    seconds: float | None = None
    """Time that is left until the deadline; None for no deadline."""
    is_probe: bool = False
    """Whether it is a readiness probe, which does not count as online traffic."""
    trace: TraceContext | None = None
    """The span that it is part of; None where it is not traced."""
    tenant: str = DEFAULT_TENANT
    """Whose it is: by its API key."""


@dataclass(frozen=True)
class Span:
    """One answer."""

    text: str | None
    """The span of the passage; None where the model abstains."""
    score: float
    start: int
    """First code point in the passage; -1 where the model abstains."""
    end: int
    """Code point after the last; -1 where the model abstains."""


@dataclass(frozen=True)
class Timing:
    """Where a request's time went, in milliseconds."""

    tokenise: float
    queue: float
    """From entering the queue to the first pass."""
    inference: float
    """From the first pass to the results."""


@dataclass(frozen=True)
class Reply:
    """The results of R rows."""

    tokens: tuple[int, ...]
    """[R] tokens of every row as the model saw it, special tokens included, windows added up."""
    timing: Timing
    spans: tuple[tuple[Span, ...], ...] = ()
    """[R] the best answers of every row, best first; empty unless answers were asked for."""
    null_scores: tuple[float, ...] = ()
    """[R] how probable it is that the passage holds no answer."""
    embeddings: Floats | None = None
    """[R, D]"""
    token_embeddings: tuple[Floats, ...] = ()
    """[R] of [L, D] each: the last hidden states, special tokens included."""
    columns: pa.Buffer | None = None
    """IPC stream of R rows: the columns that were wanted, and WINDOWS where probabilities were; None for none."""


@dataclass(frozen=True)
class Refusal:
    """Why a request gets no reply. A value and no exception, so that it crosses processes as it is."""

    status: int
    """HTTP status."""
    reason: str
    """One word for programs, e.g. queue_full, deadline, too_large; docs/serving.md lists all."""
    message: str
    """One sentence for people: what is wrong with which input, and what to do about it."""
    retry_after: int | None = None
    """Seconds, where trying again later may help."""
    field: str | None = None
    """The field of the request's body that is at fault; None where it is not a single field."""


class Refused(Exception):
    """Raised with the refusal that the client is to get."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal

    @classmethod
    def of_field(cls, field: str, message: str, status: int = 422, reason: str = "invalid") -> "Refused":
        """For a field whose value the schema allows, but not this service. The message follows the field's name."""
        return cls(Refusal(status, reason, f"{field}: {message}", field=field))


@dataclass(frozen=True)
class ModelIdentity:
    """What decides a model's results: two models that have the same give the same."""

    fingerprint: str
    """SHA-256 of the files that decide what it computes, in hex."""
    backend: str
    """The runtime that computes it, as in `model.backend`."""
    dtype: str
    """In which it computes: float32, float16 or bfloat16."""


@dataclass(frozen=True)
class ModelCard:
    """What the service tells about the model it runs."""

    name: str
    """What clients call it: `models.names.public_name` of the one in the config."""
    fingerprint: str
    """SHA-256 of the files that decide what it computes, in hex."""
    architecture: str
    """The transformers class, e.g. DistilBertForQuestionAnswering."""
    dtype: str
    """In which it computes: float32, float16 or bfloat16."""
    max_length: int
    """Longest window in tokens, special tokens included."""
    hidden_size: int
    """D, the width of an embedding."""
    answers: bool
    """Whether it has a QA head."""
    backend: str
    """The runtime that computes it, as in `model.backend`."""
    layers: int = 0
    """L, beside the embedding layer; 0 where its config does not say."""
    heads: int = 0
    """Attention heads of a layer; 0 where its config does not say."""
    columns: tuple[str, ...] = ()
    """What it can give of the encoder itself, beside answers: names of `WantedColumns`."""
    tenants: tuple[str, ...] = (DEFAULT_TENANT,)
    """Whose requests and jobs the service takes."""

    @property
    def identity(self) -> ModelIdentity:
        """What decides its results."""
        return ModelIdentity(self.fingerprint, self.backend, self.dtype)
