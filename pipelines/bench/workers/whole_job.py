"""The whole job, Parquet in and Parquet out, through the executor that `spanmill answer` and `spanmill embed` run."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from actors.engine.pass_stats import PassStats
from pipelines.config.job import AnswerConfig, EmbedConfig, OfflineConfig
from pipelines.config.loader import load_config
from pipelines.execution.executor import execute
from pipelines.job.job import bind, plan_job
from pipelines.job.ray_cluster import connected
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


def run_job(corpus: Path, output: Path, config: OfflineConfig) -> JobRun:
    """Answers or embeds a Parquet file, on the cluster that is connected.

    Args:
        output: a folder that is not there yet.

    Raises:
        JobError: it did not complete.
    """
    job = bind(plan_job([str(corpus)], str(output), config, limit=None), replace=False)
    execute(job, Console(quiet=True))
    return JobRun.of(Receipt.from_table(read_ledger(job.parts).drop_columns(["run"])))


def config_of(task: str, keys: Mapping[str, object]) -> OfflineConfig:
    """The config of a job of one actor, with further keys and their values."""
    words = ["pool.size=1", *(f"{key}={value}" for key, value in keys.items() if value is not None)]
    kind: type[OfflineConfig] = AnswerConfig if task == "answer" else EmbedConfig
    return load_config(kind, None, words)


class WholeJob:
    """Jobs of one actor with all threads."""

    packages = ("spanmill", "ray", "torch", "transformers")

    def __init__(self, setup: dict[str, Any]) -> None:
        group = "qa" if setup["task"] == "answer" else "embedding"
        keys = {f"{group}.{name}": value for name, value in setup[group].items()}
        keys |= {"model.name": setup["model"], "model.threads": setup["threads"], **setup["job"]}
        self.precision = ", ".join(setup["job"].values())
        if setup["device"] != "cpu":
            keys |= {"pool.gpus": 1}
        config = config_of(setup["task"], keys)
        ray = config.ray.model_copy(update={"address": setup["ray_address"]})
        self._config = config.model_copy(update={"ray": ray})
        self.seconds: float | None = None
        # For as long as the process lives. The model that ships is sent along: workers look for it beside their code.
        self._connection = connected(ray, models=(setup["model"],))
        self._connection.__enter__()

    def answer(self, questions: list[str], contexts: list[str], setting: dict[str, Any]) -> Any:
        """Start and end of each row's answer. The time is from the model's first shard to the last commit."""
        found = self._run({"question": questions, "context": contexts})
        return np.stack([found["start"].to_numpy(), found["end"].to_numpy()], axis=1).tolist()

    def embed(self, texts: list[str], setting: dict[str, Any]) -> Any:
        """Vectors, [R, D]; the time as in `answer`."""
        return np.array(self._run({"text": texts})["embedding"].to_pylist())

    def _run(self, rows: dict[str, Sequence[str]]) -> pa.Table:
        folder = Path(tempfile.mkdtemp(prefix="spanmill-bench-"))
        try:
            count = len(next(iter(rows.values())))
            ids = [f"{number:09}" for number in range(count)]
            pq.write_table(pa.table({"id": ids, **rows}), folder / "in.parquet")
            self.seconds = run_job(folder / "in.parquet", folder / "out", self._config).seconds
            parts = [pq.read_table(part) for part in sorted((folder / "out").glob("part-*.parquet"))]
        finally:
            shutil.rmtree(folder)
        return pa.concat_tables(parts).sort_by("id")


def load(setup: dict[str, Any]) -> WholeJob:
    """On the cluster of a run."""
    return WholeJob(setup)
