"""A record of the model's work on a shard: when, where, how long, and what its passes did."""

import socket
import time
from dataclasses import dataclass, field, replace

import pyarrow as pa

from actors.engine.pass_stats import PassStats
from pipelines.output.agreement import RowAgreement


@dataclass(frozen=True)
class ModelRun:
    """When and where the model worked on a shard, and what its forward passes did."""

    started: float
    """Seconds of the epoch."""
    seconds: float
    node: str
    """Name of the machine."""
    stats: PassStats = field(default_factory=PassStats)
    agreement: RowAgreement = field(default_factory=RowAgreement)
    """Of some of its rows with float32."""

    @classmethod
    def begin(cls) -> "ModelRun":
        """Starts the clock."""
        return cls(time.time(), 0.0, socket.gethostname())

    def done(self, stats: PassStats) -> "ModelRun":
        """Stops it."""
        return replace(self, seconds=time.time() - self.started, stats=stats)

    def to_table(self) -> pa.Table:
        """A one-row table."""
        texts = {"stats": self.stats.to_json(), "agreement": self.agreement.to_json()}
        return pa.table({name: [value] for name, value in (vars(self) | texts).items()})

    @classmethod
    def from_table(cls, table: pa.Table) -> "ModelRun":
        """The inverse of `to_table`."""
        row = table.to_pylist()[0]
        stats, agreement = PassStats.from_json(row["stats"]), RowAgreement.from_json(row["agreement"])
        return cls(**row | {"stats": stats, "agreement": agreement})
