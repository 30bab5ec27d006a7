"""A receipt: what the driver is told of a shard, once it is committed, found or given up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pyarrow as pa

from actors.engine.pass_stats import PassStats
from pipelines.output.parts import ShardId
from pipelines.rows.misfits import MisfitCounts, misfits_from_json, misfits_to_json

SCORE_BINS = 20
"""Bins of equal width between score 0 and 1; the last one also takes what is above."""

RECEIPT_SCHEMA = pa.schema(
    [
        ("unit", pa.int32()),
        ("number", pa.int32()),
        ("last", pa.bool_()),
        ("file", pa.string()),
        ("found", pa.bool_()),
        ("failed_in", pa.string()),
        ("error", pa.string()),
        ("permanent", pa.bool_()),
        ("device_lost", pa.bool_()),
        ("handed_back", pa.bool_()),
        ("store_errors", pa.int32()),
        ("rows", pa.int64()),
        ("quarantined", pa.int64()),
        ("answered", pa.int64()),
        ("bytes", pa.int64()),
        ("started", pa.float64()),
        ("seconds", pa.float64()),
        ("committed", pa.float64()),
        ("node", pa.string()),
        ("reasons", pa.string()),
        ("scores", pa.list_(pa.int32())),
        ("stats", pa.string()),
        ("misfits", pa.string()),
        ("samples", pa.string()),
        ("agreement", pa.string()),
        ("chunks", pa.int64()),
    ]
)
"""Of a receipt as a row, one field for each of `Receipt`'s; reasons, stats, misfits, samples and agreement are
JSON."""


@dataclass(frozen=True)
class Receipt:
    """A shard is committed, or was found to be, or could not be, or was handed back untouched."""

    shard: ShardId
    file: str
    """Name of the file it was read from."""
    found: bool = False
    """Another run had committed it before its turn at the model came, so nothing was computed."""
    failed_in: str = ""
    """Name of the stage that gave it up; empty when it is committed."""
    error: str = ""
    """Why."""
    permanent: bool = False
    """The error will be the same for every other shard: a full disk, no rights, a service that has changed."""
    device_lost: bool = False
    """The error is that of the actor's device."""
    handed_back: bool = False
    """Nothing was begun, since the actor's node goes or may not compute; the shard is missing still."""
    store_errors: int = 0
    """Calls to a store that failed on its way, tried again or not."""
    rows: int = 0
    """Input rows in its part."""
    quarantined: int = 0
    """Rows in its quarantine."""
    answered: int = 0
    """Rows whose answer is not null; in an embedding job, all."""
    bytes: int = 0
    """Size of its part."""
    started: float = 0.0
    """When the model began with it, seconds of the epoch by the actor's clock."""
    seconds: float = 0.0
    """Time that the model actor had it in hand, the time beside other shards included."""
    committed: float = 0.0
    """When its part was written, seconds of the epoch by the writer's clock."""
    node: str = ""
    """Name of the actor's machine; of a shard that could not be written, the name of the writer's."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Rows in its quarantine, by reason."""
    scores: tuple[int, ...] = ()
    """Answered rows by the score of their best answer, in SCORE_BINS bins; empty in an embedding job."""
    stats: PassStats = field(default_factory=PassStats)
    """What its forward passes did."""
    misfits: MisfitCounts = field(default_factory=Counter)
    """Rows in its part with a value that could not be written as it is, by column and `rows.misfits.Outcome`."""
    samples: str = ""
    """Rows of it for the report, `ShardSamples.to_json`; empty in most shards of a large job."""
    agreement: str = ""
    """How far some rows of it agree with float32, `RowAgreement.to_json`; empty in most shards, and in all of a job in
    float32."""
    chunks: int | None = None
    """Chunks of these input rows, each a row of its part; None in a job whose part has one row for each input row."""

    @staticmethod
    def to_table(receipts: Sequence["Receipt"]) -> pa.Table:
        """One row per receipt."""
        rows = [
            {
                **vars(receipt),
                **vars(receipt.shard),
                "reasons": orjson.dumps(receipt.reasons).decode(),
                "stats": receipt.stats.to_json(),
                "misfits": misfits_to_json(receipt.misfits),
            }
            for receipt in receipts
        ]
        return pa.Table.from_pylist(rows, RECEIPT_SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> list["Receipt"]:
        """The inverse of `to_table`."""
        return [
            cls(
                shard=ShardId(row.pop("unit"), row.pop("number"), row.pop("last")),
                reasons=Counter(orjson.loads(row.pop("reasons"))),
                scores=tuple(row.pop("scores")),
                stats=PassStats.from_json(row.pop("stats")),
                misfits=misfits_from_json(row.pop("misfits") or "[]"),
                samples=row.pop("samples") or "",
                agreement=row.pop("agreement") or "",
                handed_back=bool(row.pop("handed_back", False)),
                **row,
            )
            for row in table.to_pylist()
        ]
