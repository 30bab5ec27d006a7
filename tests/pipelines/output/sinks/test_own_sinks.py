"""A part format and a sink from outside the package run a job, which resumes, is counted and is overwritten."""

import sqlite3
from functools import reduce
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from pipelines.cli.commands.status import show_status
from pipelines.errors import ConfigError, ManifestError
from pipelines.execution.stage_factory import make_stages
from pipelines.job.job import Job, bind, check_complete
from pipelines.job.pool_size import ActorPool
from pipelines.output.receipt import Receipt
from pipelines.output.row_counts import read_counts
from pipelines.stages.pending_units import PendingUnit
from tests.pipelines.helpers import qa_rows
from tests.pipelines.jobs import make_job, write_jsonl

OWN = [
    ("output.format=tests.pipelines.own_sinks:ARROW",),
    ("output.sink=tests.pipelines.own_sinks:SqliteSink",),
]
POOL = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=1)


def _job(folder: Path, model: Path, *words: str) -> Job:
    corpus = folder / "in.jsonl"
    if not corpus.exists():
        write_jsonl(corpus, [*qa_rows(3), {"id": "bad"}, *qa_rows(2)])
    common = ("corpus.shard_rows=2", "output.storage={auto_mkdir: true}")
    return make_job([corpus], folder / "out", model, *common, *words)


def _run_here(job: Job, most: int) -> list[Receipt]:
    """Up to so many shards of what is left, the stages called one after the other."""
    stages = make_stages(job, POOL)
    later = [stage.open() for stage in (*stages.compute, stages.write)]
    tables = list(stages.read.stage(PendingUnit.to_table(PendingUnit.left(job.plan, job.committed()))))[:most]
    done = [reduce(lambda message, stage: stage(message), later, table) for table in tables]
    return [receipt for table in done for receipt in Receipt.from_table(table)]


def _parts(output: Path) -> list[bytes]:
    if not (output / "parts.db").exists():
        return [path.read_bytes() for path in sorted(output.glob("part-*.arrow"))]
    with sqlite3.connect(output / "parts.db") as database:
        return [data for [data] in database.execute("select data from parts order by unit, number")]


@pytest.mark.parametrize("words", OWN)
def test_a_job_runs_resumes_and_is_overwritten(tmp_path: Path, untrained_model: Path, words: tuple[str]) -> None:
    output = tmp_path / "out"
    job = bind(_job(tmp_path, untrained_model, *words), replace=False)
    assert [receipt.rows for receipt in _run_here(job, most=1)] == [2]
    assert not show_status(str(output), {})

    job = bind(_job(tmp_path, untrained_model, *words), replace=False)
    found = _run_here(job, most=9)
    assert [(receipt.shard.number, receipt.rows, receipt.failed_in) for receipt in found] == [(1, 1, ""), (2, 2, "")]
    committed = check_complete(job, [])
    counts = read_counts(job.parts, committed)
    assert (counts.rows, counts.quarantined, counts.without_receipt) == (5, 1, 3)
    tables = [pa.ipc.open_file(data).read_all() for data in _parts(output)]
    assert [row["id"] for table in tables for row in table.to_pylist()] == ["q0", "q1", "q2", "q0", "q1"]
    assert tables[0].schema.metadata[b"job"] == job.manifest.job8.encode()
    job.parts.finish({"rows": 5})
    assert show_status(str(output), {})

    other = _job(tmp_path, untrained_model, *words, "qa.top_k=2")
    with pytest.raises(ManifestError, match=r"qa\.top_k: 1 -> 2"):
        bind(other, replace=False)
    assert bind(other, replace=True).committed().shards == 0
    assert _parts(output) == []
    assert not (output / "_SUCCESS").exists()


def test_the_manifest_names_a_sink_only_where_it_is_not_the_folder(tmp_path: Path, untrained_model: Path) -> None:
    assert _job(tmp_path, untrained_model).manifest.results["output"] == {"format": "parquet"}
    own = _job(tmp_path, untrained_model, *OWN[1])
    assert own.manifest.results["output"] == {
        "format": "parquet",
        "sink": "tests.pipelines.own_sinks:SqliteSink",
    }
    bind(own, replace=False)
    stored = orjson.loads((tmp_path / "out" / "_manifest.json").read_bytes())
    assert stored["results"]["output"] == own.manifest.results["output"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("output.format=csv", "output.format: there is no 'csv'; there are parquet, jsonl, or package.module:OBJECT"),
        ("output.sink=lance", "output.sink: there is no 'lance'; there are folder, or package.module:OBJECT"),
        ("output.format=tests.pipelines.own_sinks:NONE", "output.format: tests.pipelines.own_sinks:NONE cannot be"),
        ("output.sink=no.such.package:Sink", "output.sink: no.such.package:Sink cannot be imported"),
    ],
)
def test_a_name_that_stands_for_nothing_is_an_error_of_the_config(
    tmp_path: Path, untrained_model: Path, word: str, said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        _job(tmp_path, untrained_model, word)
    assert said in str(raised.value)
