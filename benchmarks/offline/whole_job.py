"""The whole job, Parquet in and Parquet out, through the executor that `spanmill answer` runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from actors.engine.pass_stats import PassStats
from benchmarks.offline.limits import QA
from pipelines.config.job import AnswerConfig
from pipelines.config.loader import load_config
from pipelines.execution.executor import execute
from pipelines.job.job import bind, plan_job
from pipelines.output.receipt import Receipt
from pipelines.output.receipt_log import read_ledger

_FED = 2
"""Shards that an actor works on at once: once so many are committed, every further one was computed at full speed."""


@dataclass(frozen=True)
class JobRun:
    """What its receipts say of a job that is done."""

    shards: int
    seconds: float
    """From the moment that the model began with its first shard to the last commit."""
    passes: float
    """Seconds in forward passes."""
    steady_tokens_per_second: float | None
    """Between the second commit and the last, padding left out; None where there are too few shards to tell."""

    @classmethod
    def of(cls, receipts: list[Receipt]) -> "JobRun":
        """Takes the receipts of all shards, in any order."""
        found, stats = sorted(receipts, key=lambda receipt: receipt.committed), PassStats()
        for receipt in found:
            stats.add(receipt.stats)
        last = found[-1].committed
        steady, later = None, found[_FED:]
        if len(later) >= _FED:
            tokens = sum(receipt.stats.total.tokens for receipt in later)
            steady = tokens / (last - found[_FED - 1].committed)
        return cls(len(found), last - min(receipt.started for receipt in found), stats.total.seconds, steady)


def run_job(corpus: Path, output: Path, model: Path, further: Mapping[str, object]) -> JobRun:
    """Answers a Parquet file, by one actor, on the cluster that is connected.

    Args:
        output: a folder that is not there yet.
        further: config keys and their values.

    Raises:
        JobError: it did not complete.
    """
    keys = {"qa.max_seq_len": QA.max_seq_len, "qa.doc_stride": QA.doc_stride, **further}
    words = [f"model.name={model}", "pool.size=1", *(f"{key}={value}" for key, value in keys.items())]
    config = load_config(AnswerConfig, None, words)
    job = bind(plan_job([str(corpus)], str(output), config, limit=None), replace=False)
    execute(job, Console(quiet=True))
    return JobRun.of(Receipt.from_table(read_ledger(job.parts).drop_columns(["run"])))
