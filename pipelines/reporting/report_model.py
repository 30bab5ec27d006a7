"""What the report of a job says: the fields of `_report.json`."""

from dataclasses import dataclass
from typing import Any

from pipelines.reporting.receipt_stats import NodeStats, RunStats, SlowShard
from pipelines.reporting.throughput_curve import Speed


@dataclass(frozen=True)
class Subject:
    """What ran."""

    kind: str
    """answer or embed."""
    job: str
    """The job's id; parts carry its first eight characters."""
    created: str
    """ISO 8601."""
    output: str
    model: str
    """As it was named."""
    fingerprint: str
    backend: str
    files: int
    bytes: int
    """Size of the input."""
    units: int
    shard_rows: int
    config: dict[str, Any]
    """Every key, but for those that may be secret."""
    changed: dict[str, Any]
    """Those of them that are not at their default, dotted."""
    versions: dict[str, str]
    """Of the driver's packages."""


@dataclass(frozen=True)
class Machines:
    """What the last run ran on."""

    nodes: int
    cpus: float
    gpus: float
    accelerators: list[str]
    actors: int
    """Fewest model actors."""
    most_actors: int
    cpus_per_actor: float
    gpus_per_actor: float
    threads_per_actor: int


@dataclass(frozen=True)
class Totals:
    """Over all runs of the job."""

    shards: int
    shards_expected: int
    """As far as the plan can tell."""
    without_receipt: int
    """Committed shards that rows and quarantined count, and nothing else here."""
    rows: int
    """In parts."""
    quarantined: int
    answered: int
    """Rows with an answer; in an embedding job, all."""
    bytes: int
    """Size of the parts."""
    store_errors: int
    """Calls to a store that failed on the way of a committed shard."""
    windows: int
    tokens: int
    """Without padding."""
    padding: float
    """Share of padding among the tokens that were computed."""
    passes: int
    model_seconds: float
    """In forward passes, over all actors."""
    out_of_memory: int
    """Passes that did not fit and were halved."""
    work_seconds: float
    """From the first shard's start at the model to the last commit, the time between runs left out."""
    rows_per_second: float
    """Over that time, quarantined rows included."""


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
class Example:
    """A row in quarantine. Its text is the input's: never trust it."""

    id: str | None
    file: str
    place: int
    """Row in Parquet, byte in JSONL, both from 0."""
    detail: str
    row: str


@dataclass(frozen=True)
class Quarantined:
    """The rows of one reason."""

    reason: str
    rows: int
    """As far as there are receipts."""
    examples: list[Example]


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
    """Of this format."""
    made: str
    """ISO 8601."""
    complete: bool
    subject: Subject
    machines: Machines | None
    """Unknown where Ray did not start."""
    totals: Totals
    speed: Speed
    buckets: list[LengthFigures]
    """By length."""
    pass_milliseconds: dict[str, int]
    """Passes by their time: milliseconds, rounded up to a power of two."""
    scores: list[int]
    """Answered rows by the score of their best answer: bins of equal width from 0 to 1, the last also what is above."""
    slowest: list[SlowShard]
    quarantine: list[Quarantined]
    runs: list[RunStats]
    nodes: list[NodeStats]
    failures: list[Failure]
    """Of the last run, at most 50."""
    mishaps: list[str]
    """What went wrong in the last run and was not one shard's."""
    store_errors: int
    """Failed calls to a store in the last run, shards that are not committed included."""
