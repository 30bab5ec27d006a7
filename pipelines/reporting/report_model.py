"""The data model of the report: its classes and fields are those of `_report.json`."""

from dataclasses import dataclass
from typing import Any

from actors.models.runtime_choice import Measurement
from pipelines.output.row_samples import RowSample
from pipelines.reporting.receipt_stats import NodeStats, RunStats, SlowShard
from pipelines.reporting.throughput_curve import ThroughputCurve


@dataclass(frozen=True)
class Subject:
    """The job: its model, input and config."""

    kind: str
    """answer or embed."""
    job: str
    """The job's id; parts carry its first eight characters."""
    created: str
    """ISO 8601."""
    output: str
    model: str
    """Name, as the user gave it."""
    fingerprint: str
    backend: str
    files: int
    bytes: int
    """Size of the input."""
    units: int
    shard_rows: int
    config: dict[str, Any]
    """The whole config, without keys that may hold secrets."""
    changed: dict[str, Any]
    """Dotted keys of the config whose values are not the defaults, with these values."""
    versions: dict[str, str]
    """Versions of the main packages, on the driver."""


@dataclass(frozen=True)
class Machines:
    """The cluster of the last run."""

    nodes: int
    cpus: float
    gpus: float
    accelerators: list[str]
    actors: int
    """Smallest number of model actors."""
    most_actors: int
    cpus_per_actor: float
    gpus_per_actor: float
    threads_per_actor: int


@dataclass(frozen=True)
class Totals:
    """Over all runs of the job."""

    shards: int
    shards_expected: int
    """As many as the plan estimates, and at least `shards`."""
    without_receipt: int
    """Committed shards without a receipt: they count in shards, input_rows, written_rows and quarantined only."""
    input_rows: int
    """Rows of the input in committed shards: those written and those quarantined."""
    written_rows: int
    """Input rows in committed parts."""
    answered: int
    """Of those written, the ones with an answer; in an embedding job, all."""
    quarantined: int
    bytes: int
    """Size of the parts."""
    store_errors: int
    """Failed calls to a store, on the way to shards that are committed."""
    windows: int
    tokens: int
    """Without padding."""
    padding: float
    """Share of padding among the tokens that were computed."""
    passes: int
    model_seconds: float
    """Seconds in forward passes, over all actors."""
    out_of_memory: int
    """Passes that did not fit into memory and were halved."""
    work_seconds: float
    """From the first shard's start at the model to the last commit, the time between runs left out."""
    rows_per_second: float
    """Mean over work_seconds, quarantined rows included."""
    written_chunks: int | None = None
    """Rows of the committed parts, where each is a chunk of an input row; None in a job that cuts no texts."""


@dataclass(frozen=True)
class LengthFigures:
    """The passes of one padded width."""

    width: int
    """Tokens of a window, rounded up."""
    windows: int
    passes: int
    mean_batch: float
    """Windows of a pass."""
    tokens: int
    padding: float
    seconds: float


@dataclass(frozen=True)
class AnswerGroup:
    """Some answered rows. Their texts come from the input: escape them wherever they are shown."""

    name: str
    """best, worst (by score), random, or all."""
    rows: list[RowSample]


@dataclass(frozen=True)
class Answers:
    """What an answer job says, in some of its rows."""

    looked_at: int
    """Rows that the best and the worst were chosen from, in shards spread over the corpus."""
    groups: list[AnswerGroup]


@dataclass(frozen=True)
class Agreement:
    """How far the job's precision agrees with float32, by some of its rows that were computed in both."""

    precision: str
    """float16 or bfloat16."""
    rows: int
    """Rows that were compared, in a few shards."""
    equal_spans: float | None
    """Share of rows whose best answer is the same text at the same place; None in an embedding job, and so below."""
    score_difference: float | None
    """Mean of the absolute difference of the best answers' scores."""
    score_difference_p95: float | None
    """Its 95th percentile."""
    cosine: float | None
    """Mean cosine of embeddings; None where there are none, and so below."""
    cosine_p5: float | None
    """Its 5th percentile."""


@dataclass(frozen=True)
class RuntimeTable:
    """How `model.backend: auto` came to the runtime of the job, when it was begun."""

    runtime: str
    """Runtime and type."""
    reason: str
    actors: int
    """That share a machine without GPUs, or a GPU."""
    seconds: float
    """That measuring took."""
    most_seconds: float
    """That it might take."""
    windows: int
    """On which each was measured at a time."""
    measurements: list[Measurement]


@dataclass(frozen=True)
class Neighbour:
    """A text near another one."""

    id: str | None
    text: str
    """Its beginning."""
    similarity: float
    """Cosine of the two vectors."""


@dataclass(frozen=True)
class Neighbourhood:
    """A text, and those of the sample that are nearest to it."""

    id: str | None
    text: str
    """Its beginning."""
    nearest: list[Neighbour]


@dataclass(frozen=True)
class Neighbours:
    """What an embedding job says, in some of its texts."""

    looked_at: int
    """Distinct texts among which the nearest were searched."""
    closest: list[Neighbourhood]
    """Those that are closest to another one."""
    random: list[Neighbourhood]


@dataclass(frozen=True)
class QuarantineSample:
    """A row in quarantine. Its text comes from the input: escape it wherever it is shown."""

    id: str | None
    file: str
    place: int
    """Row in Parquet, byte in JSONL, both from 0."""
    detail: str
    row: str


@dataclass(frozen=True)
class QuarantinedRows:
    """The rows of one reason."""

    reason: str
    rows: int
    """Counted from receipts; shards without one are not included."""
    examples: list[QuarantineSample]


@dataclass(frozen=True)
class MisfitValues:
    """Values of one column that are not written as they are, in rows that are."""

    column: str
    """Its name in the input."""
    outcome: str
    """What is written instead: null, text (the value as JSON), default_id, no_number (null for NaN of JSON)."""
    rows: int
    """Counted from receipts; shards without one are not included."""
    mend: str
    """Lines of a config that keep the values as text; empty where there are none."""


@dataclass(frozen=True)
class Failure:
    """A shard that the last run could not commit."""

    shard: str
    file: str
    stage: str
    error: str


@dataclass(frozen=True)
class Report:
    """The whole report; `_report.json` has these fields."""

    version: int
    """Version of the report's format: 2 since `rows` became `input_rows` and `written_rows`."""
    made: str
    """ISO 8601."""
    complete: bool
    subject: Subject
    machines: Machines | None
    """None where Ray did not start."""
    totals: Totals
    answers: Answers | None
    """None where no shard with a receipt gave any."""
    neighbours: Neighbours | None
    """Of an embedding job; None where there are not two texts."""
    agreement: Agreement | None
    """None of a job in float32, and where no shard with a receipt was compared."""
    runtime: RuntimeTable | None
    """None where the config names the runtime."""
    speed: ThroughputCurve
    buckets: list[LengthFigures]
    """Forward passes by the length of the longest window."""
    pass_milliseconds: dict[str, int]
    """Passes by their time: milliseconds, rounded up to a power of two."""
    scores: list[int]
    """Answered rows by the score of their best answer: bins of equal width from 0 to 1, the last also what is above."""
    slowest: list[SlowShard]
    quarantine: list[QuarantinedRows]
    misfits: list[MisfitValues]
    runs: list[RunStats]
    nodes: list[NodeStats]
    failures: list[Failure]
    """Of the last run, at most 50."""
    mishaps: list[str]
    """Errors of the last run that concern no single shard."""
    store_errors: int
    """Failed calls to a store in the last run, shards that are not committed included."""
