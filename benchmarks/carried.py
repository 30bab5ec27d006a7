"""What a model actor pays for the carried columns that travel with a shard: it hands them on, and never reads them.

    python -m benchmarks.carried [--rows 1500] [--shards 24]

The pipeline of a job without a model: shards of so many rows with carried columns of 0, 1 and 10 KB a row go through an
actor that does nothing. Its process's CPU seconds and the time of a shard in it are therefore those of the hand-over:
unpacking a block of Ray's store, and putting the next one there.
"""

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from actors.engine.pass_stats import PassStats
from pipelines.config.job import ClusterParameters
from pipelines.corpus.source_file import SourceFile
from pipelines.execution.ray_pipeline import build, receipts
from pipelines.execution.stage_list import ActorStage, StageList, TaskStage
from pipelines.job.pool_size import ActorPool
from pipelines.job.ray_cluster import connected
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.planning.plan import ReadUnit
from pipelines.schemas import QUARANTINE_SCHEMA
from pipelines.stages.base import ShardStage
from pipelines.stages.messages import IpcTable, ResultsMessage, ShardHeader, TokenizedMessage
from pipelines.stages.model.run import ModelRun
from pipelines.stages.pending_units import PendingUnit
from pipelines.storage.url import Url

_KB = (0, 1, 10)
_FIRST = 4
"""Shards that are not counted: processes are still starting."""
_POOL = ActorPool(size=1, max_size=1, cpus=0.5, gpus=0.0, threads=1)
_UNIT = PendingUnit(
    ReadUnit(0, 0, 0, 0, 0, None), SourceFile(Url("/none"), "none", 0, "", "parquet", None), frozenset()
)


@dataclass(frozen=True)
class Source:
    """Gives shards as the prepare stage does; stands in the place of the read stage."""

    rows: int
    row_bytes: int
    shards: int

    name = "source"

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """All shards, whatever the table is."""
        size = self.rows * self.row_bytes
        offsets = pa.py_buffer(np.arange(self.rows + 1, dtype=np.int64) * self.row_bytes)
        data = pa.py_buffer(np.random.default_rng(7).integers(32, 127, size, dtype=np.uint8))
        carried = pa.LargeStringArray.from_buffers(self.rows, offsets, data)
        rows = IpcTable.of(pa.table({"id": [f"row-{i}" for i in range(self.rows)], "carried": carried}))
        nothing = IpcTable.of(QUARANTINE_SCHEMA.empty_table())
        for number in range(self.shards):
            header = ShardHeader(ShardId(0, number, number + 1 == self.shards), "source")
            yield TokenizedMessage(header, rows, nothing, nothing).to_table()


class HandOver(ShardStage[TokenizedMessage, ResultsMessage]):
    """The model stage without a model; tells with every shard when it had it, and what its process has taken."""

    name = "hand_over"
    takes = TokenizedMessage

    def process(self, message: TokenizedMessage) -> ResultsMessage:
        """Hands the rows on."""
        run = ModelRun(time.time(), time.process_time(), str(os.getpid()), PassStats())
        nothing = IpcTable.of(pa.table({"answer": pa.array([], pa.string())}))
        return ResultsMessage(message.header, message.rows, message.quarantine, nothing, IpcTable.of(run.to_table()))


class Drain(ShardStage[Any, Any]):
    """Takes shards and writes nothing."""

    name = "drain"
    takes = ResultsMessage

    def __call__(self, table: pa.Table) -> pa.Table:
        """The receipt."""
        message = ResultsMessage.from_table(table)
        run = ModelRun.from_table(message.model_run.read())
        header = message.header
        return Receipt.to_table([Receipt(header.shard, header.file, started=run.started, seconds=run.seconds)])

    def process(self, message: Any) -> Any:
        """Never called."""
        raise NotImplementedError


def measure(rows: int, row_bytes: int, shards: int) -> tuple[float, float]:
    """CPU seconds of the actor's process for a shard, and seconds between two shards in it (the median)."""
    source: Any = Source(rows, row_bytes, shards + _FIRST)
    stages = StageList(TaskStage(source, 0.2), (ActorStage(HandOver, (), (), _POOL),), TaskStage[Any](Drain(), 0.1))
    found = sorted(receipts(build(stages, [_UNIT])), key=lambda receipt: receipt.started)[_FIRST:]
    between = np.diff([receipt.started for receipt in found])
    return (found[-1].seconds - found[0].seconds) / (len(found) - 1), statistics.median(between.tolist())


def main(rows: Annotated[int, typer.Option(min=1)] = 1500, shards: Annotated[int, typer.Option(min=4)] = 24) -> None:
    """Prints the cost of a shard for carried columns of different sizes."""
    table = Table("carried, KB a row", "MB a shard", "CPU ms of the actor", "ms from shard to shard", box=None)
    with connected(ClusterParameters(object_store_mb=1024)):
        for kb in _KB:
            cpu, between = measure(rows, kb << 10, shards)
            table.add_row(str(kb), f"{rows * kb / 1024:.1f}", f"{1000 * cpu:.1f}", f"{1000 * between:.1f}")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    typer.run(main)
