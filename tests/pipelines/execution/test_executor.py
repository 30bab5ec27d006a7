"""Whole jobs on a real local Ray cluster, held against the bare engine."""

import io
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import duckdb
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import ray.data
import torch
from rich.console import Console
from transformers import DistilBertForQuestionAnswering

from actors.parameters import EmbeddingParameters, QAParameters
from pipelines.config.job import EmbedConfig
from pipelines.errors import ConfigError, JobError
from pipelines.execution import stage_factory
from pipelines.execution.executor import _Run, execute
from pipelines.execution.stage_factory import make_stages
from pipelines.job.job import bind
from pipelines.job.pool_size import ActorPool
from pipelines.output.parts import ShardId
from pipelines.output.receipt import Receipt
from pipelines.stages.pending_units import PendingUnit
from pipelines.stages.read import ReadStage
from tests.pipelines.helpers import compressed, jsonl, qa_rows
from tests.pipelines.jobs import (
    Ran,
    bare_engine,
    make_job,
    mixed_rows,
    part_rows,
    parts,
    run_job,
    same_answer,
    same_vector,
    sample_rows,
    write_jsonl,
)
from tests.pipelines.s3_server import S3Server

pytestmark = pytest.mark.usefixtures("cluster")

_MIXED = 122


@pytest.fixture(scope="module")
def expected(untrained_model: Path) -> dict[str, dict[str, Any]]:
    """The bare engine's answers to the sample corpus, by id."""
    rows = sample_rows()
    found = bare_engine(untrained_model, rows, QAParameters())
    return {row["id"]: one["answers"][0] for row, one in zip(rows, found, strict=True)}


def _assert_answers(
    found: list[dict[str, Any]], rows: list[dict[str, Any]], expected: dict[str, dict[str, Any]]
) -> None:
    """Every row is there once and in order, with the engine's answer."""
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert [row["id"] for row in found if not same_answer(row, expected[row["id"]])] == []


@pytest.fixture(scope="module")
def mixed(cluster: None, tmp_path_factory: pytest.TempPathFactory, untrained_model: Path) -> Ran:
    """A job over rows of the sample corpus as Parquet, as JSONL, and once more as a gzip and a zstd file."""
    folder = tmp_path_factory.mktemp("mixed") / "in"
    rows = mixed_rows(_MIXED)
    write_jsonl(folder / "b.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet", row_group_size=20)
    windows = b"\xef\xbb\xbf" + jsonl(rows[:60]).replace(b"\n", b"\r\n\r\n  \r\n")
    (folder / "c.jsonl.gz").write_bytes(compressed(windows, "gzip"))
    (folder / "d.jsonl.zst").write_bytes(compressed(b"\n\n" + jsonl(rows[60:]), "zstd"))
    return run_job([folder], folder.parent / "out", untrained_model, "corpus.unit_bytes=30_000")


def test_a_service_that_has_changed_ends_the_job_and_a_file_that_is_gone_does_not(
    untrained_model: Path, tmp_path: Path
) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", mixed_rows(3))
    job = bind(make_job([corpus], tmp_path / "out", untrained_model), replace=False)
    pool = ActorPool(size=1, max_size=1, cpus=1.0, gpus=0.0, threads=1)
    nobody: Any = None
    run = _Run(job, pool, make_stages(job, pool), nobody, nobody, ())
    gone = Receipt(ShardId(0, 0, False), "in.jsonl", failed_in="read", error="it is not there.", permanent=True)
    run._add(gone)
    with pytest.raises(JobError, match=r"^they hold another\. What is committed stays\.$"):
        run._add(replace(gone, failed_in="model", error="they hold another."))


def test_every_format_gives_the_engines_answers(mixed: Ran, expected: dict[str, dict[str, Any]]) -> None:
    rows, output = mixed_rows(_MIXED), Path(mixed.job.store.root)
    by_file: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for part in parts(output):
        unit = mixed.job.plan.units[int(part.name.split("-")[1])]
        by_file[mixed.job.plan.file_of(unit).name] += pq.read_table(part).to_pylist()
    _assert_answers(by_file["a.parquet"], rows, expected)
    _assert_answers(by_file["b.jsonl"], rows, expected)
    _assert_answers(by_file["c.jsonl.gz"] + by_file["d.jsonl.zst"], rows, expected)
    tally = mixed.outcome.tally
    assert (tally.rows, tally.answered, tally.shards) == (3 * len(rows), 3 * len(rows), len(parts(output)))
    success = orjson.loads((output / "_SUCCESS").read_bytes())
    assert (success["job"], success["shards"]) == (mixed.job.manifest.job_id, tally.shards)


BAD: list[tuple[object, str]] = [
    (b'{"id": "cut", "question": "Wh', "malformed_json"),
    ({"id": "null", "question": None, "context": "c"}, "null_question"),
    ({"id": "empty", "question": "Who?", "context": " \n"}, "empty_context"),
    ({"id": "number", "question": 7, "context": "c"}, "wrong_type"),
    (rb'{"id": "half", "question": "Who? \ud83d", "context": "c"}', "lone_surrogate"),
    ({"id": "long", "question": "who " * 600, "context": "c"}, "question_too_long"),
    ({"id": "mute", "question": "Who?", "context": "\u200b\u200b"}, "no_tokens"),
]


def test_bad_rows_are_quarantined_and_other_tools_read_the_rest(
    tmp_path: Path, untrained_model: Path, expected: dict[str, dict[str, Any]]
) -> None:
    extra = {"year": 1871, "tags": ["a", "b"]}
    good = [{**row, **extra} for row in mixed_rows(14)]
    bad = [{**row, **extra} if isinstance(row, dict) else row for row, _ in BAD]
    write_jsonl(tmp_path / "in" / "a.jsonl", [line for pair in zip(good[:7], bad, strict=True) for line in pair])
    write_jsonl(tmp_path / "in" / "b.jsonl", good[7:])
    write_jsonl(tmp_path / "in" / "c-bad.jsonl", bad)
    write_jsonl(tmp_path / "in" / "d-empty.jsonl", [])
    output = tmp_path / "out"
    words = ("corpus.carry=[year,tags]", "corpus.shard_rows=5")
    ran = run_job([tmp_path / "in"], output, untrained_model, *words)

    found = part_rows(output)
    _assert_answers(found, good, expected)
    assert all((row["year"], row["tags"]) == (1871, ["a", "b"]) for row in found)
    quarantine = pq.read_table(output / "_quarantine").to_pylist()
    reasons = [reason for _, reason in BAD]
    for name in ("a.jsonl", "c-bad.jsonl"):
        assert [row["reason"] for row in quarantine if row["file"] == name] == reasons
    tally = ran.outcome.tally
    assert (tally.rows, tally.quarantined) == (len(good), len(quarantine)) == (14, 14)
    # The empty file too has a part, so that a listing tells that nothing is missing.
    assert [pq.read_metadata(part).num_rows for part in parts(output)] == [3, 2, 2, 5, 2, 0, 0, 0]
    assert all(pq.read_schema(part).remove_metadata().equals(ran.job.schema) for part in parts(output))
    footer = pq.read_metadata(parts(output)[0]).metadata
    assert {key: footer[f"spanmill.{key}".encode()].decode() for key in ("model", "config", "rows", "quarantined")} == {
        "model": ran.job.model.fingerprint,
        "config": ran.job.manifest.job_id,
        "rows": "3",
        "quarantined": "2",
    }

    ids = sorted(row["id"] for row in good)
    assert sorted(pd.read_parquet(output)["id"]) == ids
    assert sorted(pyarrow.dataset.dataset(output).to_table()["id"].to_pylist()) == ids
    pattern = f"{output}/*.parquet"
    assert duckdb.execute("select id, tags[2] from read_parquet(?) order by id", [pattern]).fetchall() == [
        (name, "b") for name in ids
    ]
    assert sorted(row["id"] for row in ray.data.read_parquet(str(output)).take_all()) == ids


def test_answers_with_embeddings_and_several_answers(tmp_path: Path, untrained_model: Path) -> None:
    rows = mixed_rows(40)
    corpus = write_jsonl(tmp_path / "in.jsonl", rows)
    words = ("qa.top_k=3", "qa.handle_impossible_answer=true", "embedding={}", "corpus.shard_rows=16")
    run_job([corpus], tmp_path / "out", untrained_model, *words)
    found = part_rows(tmp_path / "out")
    qa = QAParameters(top_k=3, handle_impossible_answer=True)
    expected = bare_engine(untrained_model, rows, qa, EmbeddingParameters())
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    for row, one in zip(found, expected, strict=True):
        assert len(row["answers"]) == len(one["answers"])
        assert all(map(same_answer, row["answers"], one["answers"])), row["id"]
        assert same_vector(row["embedding"], one["embedding"])
    assert all(
        row["context"][a["start"] : a["end"]] == a["answer"]
        for row, out in zip(rows, found, strict=True)
        for a in out["answers"]
        if a["start"] is not None
    )


def _abstaining(model: Path, folder: Path) -> Path:
    """The model with a QA head that leans towards the first token, so that it abstains on most rows."""
    copy = Path(copytree(model, folder))
    network = DistilBertForQuestionAnswering.from_pretrained(model)
    with torch.no_grad():
        hidden = network.distilbert(torch.tensor([[2, 20, 30, 3, 40, 50, 60, 3]])).last_hidden_state[0]
        network.qa_outputs.weight.add_(0.01 * (hidden[0] - hidden[1:].mean(0)))
    network.save_pretrained(copy)
    return copy


@pytest.mark.more
def test_jsonl_output_with_null_answers(tmp_path: Path, untrained_model: Path) -> None:
    rows = mixed_rows(40)
    model = _abstaining(untrained_model, tmp_path / "model")
    corpus = write_jsonl(tmp_path / "in.jsonl", rows)
    words = ("qa.handle_impossible_answer=true", "output.format=jsonl", "corpus.carry=[title]")
    ran = run_job([corpus], tmp_path / "out", model, *words)
    found = [orjson.loads(line) for part in parts(tmp_path / "out") for line in part.read_bytes().splitlines()]
    expected = bare_engine(model, rows, QAParameters(handle_impossible_answer=True))
    assert [(row["id"], row["title"]) for row in found] == [(row["id"], row["title"]) for row in rows]
    assert all(same_answer(row, one["answers"][0]) for row, one in zip(found, expected, strict=True))
    nulls = [row for row in found if row["answer"] is None]
    assert 0 < len(nulls) < len(rows)
    assert all(row["start"] is None and row["end"] is None for row in nulls)
    assert ran.outcome.tally.answered == len(rows) - len(nulls)


def test_embeddings(tmp_path: Path, untrained_model: Path) -> None:
    rows = [{"key": i, "body": row["context"]} for i, row in enumerate(mixed_rows(40))]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=9)
    words = ("corpus.columns.text=body", "corpus.columns.id=key", "embedding.dtype=float16", "corpus.shard_rows=16")
    ran = run_job([tmp_path / "in.parquet"], tmp_path / "out", untrained_model, *words, kind=EmbedConfig)
    table = pq.read_table(tmp_path / "out")
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), 128)
    found = part_rows(tmp_path / "out")
    expected = bare_engine(untrained_model, [{"text": row["body"]} for row in rows], embedding=EmbeddingParameters())
    assert [row["id"] for row in found] == [str(row["key"]) for row in rows]
    for row, one in zip(found, expected, strict=True):
        assert same_vector(row["embedding"], one["embedding"], tolerance=1e-3)
    assert ran.outcome.tally.stats.total.windows > len({row["body"] for row in rows}), "no text is longer than a window"


@pytest.mark.more
def test_the_rest_of_a_job_is_done_by_another_pool_with_other_batches(
    mixed: Ran, tmp_path: Path, untrained_model: Path
) -> None:
    output = Path(copytree(mixed.job.store.root, tmp_path / "out"))
    whole = part_rows(output)
    gone = parts(output)[::5]
    for part in gone:
        part.unlink()
    before = {part: (part.stat().st_mtime_ns, part.read_bytes()) for part in parts(output)}

    corpus = Path(mixed.job.store.root).parent / "in"
    words = ("pool.size=2", "pool.cpus=0.4", "batching.fixed_windows=3", "corpus.unit_bytes=20_000")
    ran = run_job([corpus], output, untrained_model, *words)
    assert (ran.outcome.shards_before, ran.outcome.tally.shards) == (len(before), len(gone))
    assert {part: (part.stat().st_mtime_ns, part.read_bytes()) for part in before} == before
    again = part_rows(output)
    assert [row["id"] for row in again] == [row["id"] for row in whole]
    assert all(map(same_answer, again, whole))


@pytest.mark.more
def test_a_pool_that_grows(tmp_path: Path, untrained_model: Path, expected: dict[str, dict[str, Any]]) -> None:
    rows = mixed_rows(60)
    corpus = write_jsonl(tmp_path / "in.jsonl", rows)
    words = ("pool.max_size=2", "pool.cpus=0.4", "corpus.shard_rows=6")
    run_job([corpus], tmp_path / "out", untrained_model, *words)
    _assert_answers(part_rows(tmp_path / "out"), rows, expected)


class Mender(io.StringIO):
    """A console's file; the first error line it is shown makes it mend the file of the corpus."""

    def __init__(self, damaged: Path, whole: bytes) -> None:
        super().__init__()
        self._damaged, self._whole = damaged, whole

    def write(self, text: str) -> int:
        if "damaged" in text:
            stat = self._damaged.stat()
            self._damaged.write_bytes(self._whole)
            os.utime(self._damaged, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return super().write(text)


@pytest.mark.more
def test_a_unit_that_fails_is_tried_again_and_takes_no_other_with_it(tmp_path: Path, untrained_model: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    # Damaged where no plan looks.
    whole = compressed(b"\n" * 100_000 + jsonl(qa_rows(60)), "gzip")
    write_jsonl(folder / "a.jsonl", qa_rows(9))
    for name in ("b.jsonl.gz", "c.jsonl.gz"):
        (folder / name).write_bytes(whole[:-9] + bytes(9))
    words = ("corpus.shard_rows=5", "ray.passes=2")
    job = bind(make_job([folder], output, untrained_model, *words), replace=False)
    mender = Mender(folder / "b.jsonl.gz", whole)
    with pytest.raises(JobError, match=r"1 of 3 read units are not complete") as raised:
        execute(job, Console(file=mender, width=1000))
    assert "shard 1-" in mender.getvalue()
    assert "c.jsonl.gz: the gzip stream is damaged" in str(raised.value)
    assert "b.jsonl.gz" not in str(raised.value)
    found = [row["id"] for part in parts(output) if "part-00002" not in part.name for row in _rows_of(part)]
    assert found == [f"q{i}" for i in [*range(9), *range(60)]]
    assert not (output / "_SUCCESS").exists()


def test_a_file_that_kills_whoever_reads_it_takes_no_other_with_it(
    tmp_path: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(ReadStage):
        def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
            if any(pending.file.name == "b.jsonl" for pending in PendingUnit.from_table(table)):
                os._exit(7)
            return ReadStage.__call__(self, table)

    monkeypatch.setattr(stage_factory, "ReadStage", Deadly)
    for name in ("a", "b", "c"):
        write_jsonl(tmp_path / "in" / f"{name}.jsonl", [{**row, "id": f"{name}-{row['id']}"} for row in qa_rows(6)])
    with pytest.raises(JobError, match="1 of 3 read units are not complete") as raised:
        run_job([tmp_path / "in"], tmp_path / "out", untrained_model, "corpus.shard_rows=5", "ray.passes=1")
    assert "died" in str(raised.value)
    assert [row["id"] for row in part_rows(tmp_path / "out")] == [f"{name}-q{i}" for name in "ac" for i in range(6)]
    assert not (tmp_path / "out" / "_quarantine").exists(), "nobody knows which row it was"


@pytest.mark.more
def test_a_store_that_refuses_for_good_stops_the_job_and_too_many_bad_rows_do_until_more_may_be(
    tmp_path: Path, untrained_model: Path, expected: dict[str, dict[str, Any]]
) -> None:
    rows, output = mixed_rows(25), tmp_path / "out"
    bad = {**rows[0], "question": None}
    pq.write_table(pa.Table.from_pylist([bad, *rows[1:]]), tmp_path / "in.parquet")

    def run(*words: str) -> Ran:
        return run_job([tmp_path / "in.parquet"], output, untrained_model, "corpus.shard_rows=1", *words)

    output.mkdir()
    (output / "_quarantine").write_text("in the way")
    with pytest.raises(JobError, match=r"_quarantine/.*writing failed.*What is committed stays"):
        run()
    first = _written(output)
    assert len(first) < len(rows) // 2, "the rest was computed for nothing"
    assert not (output / "_SUCCESS").exists()

    (output / "_quarantine").unlink()
    with pytest.raises(JobError, match=r"1 of .* rows .*max_quarantined \(3%\) allows\. Reasons: null_question 1\."):
        run("max_quarantined=3%")
    second = _written(output)
    assert first.items() <= second.items()
    assert len(second) < len(rows)

    ran = run("max_quarantined=5%")
    assert ran.outcome.shards_before == len(second)
    assert (ran.outcome.counts.rows, ran.outcome.counts.quarantined, ran.outcome.poison_rows) == (len(rows) - 1, 1, 0)
    assert second.items() <= _written(output).items(), "what was committed is computed again"
    _assert_answers(part_rows(output), rows[1:], expected)
    assert (output / "_SUCCESS").exists()


def _written(output: Path) -> dict[str, tuple[int, bytes]]:
    return {part.name: (part.stat().st_mtime_ns, part.read_bytes()) for part in parts(output)}


@pytest.mark.more
def test_a_share_of_a_corpus_of_unknown_size_is_known_at_its_end(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", [b"{", b"{", *qa_rows(6)])
    words = ("corpus.shard_rows=2", "max_quarantined=24.9%")
    with pytest.raises(JobError, match=r"2 of 8 rows so far are quarantined.*\(24\.9%\).*malformed_json 2"):
        run_job([corpus], tmp_path / "out", untrained_model, *words)
    assert [row["id"] for row in part_rows(tmp_path / "out")] == [f"q{i}" for i in range(6)]
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    again = run_job([corpus], tmp_path / "out", untrained_model, "max_quarantined=2")
    assert (again.log, again.outcome.tally.shards, again.outcome.counts.quarantined) == ("", 0, 2)
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_a_job_whose_every_row_is_bad_is_no_success(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", [b"{", b"[1]", *[{**row, "question": None} for row in qa_rows(3)]])
    words = r"5 of 5 rows .*max_quarantined \(50%\).*null_question 3, malformed_json 1, not_an_object 1.*_quarantine/"
    with pytest.raises(JobError, match=words):
        run_job([corpus], tmp_path / "out", untrained_model)
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    accepted = run_job([corpus], tmp_path / "out", untrained_model, "max_quarantined=null")
    assert (accepted.outcome.exit_code, accepted.outcome.counts.quarantined) == (0, 5)
    assert (tmp_path / "out" / "_SUCCESS").exists()
    with pytest.raises(JobError, match="50%"):
        run_job([corpus], tmp_path / "out", untrained_model)
    assert not (tmp_path / "out" / "_SUCCESS").exists(), "the limit of this run is not that of the last one"


def test_a_pool_that_cannot_fit_is_refused(tmp_path: Path, untrained_model: Path) -> None:
    corpus = write_jsonl(tmp_path / "in.jsonl", qa_rows(3))
    with pytest.raises(ConfigError, match="99 actors of 1 CPU"):
        run_job([corpus], tmp_path / "out", untrained_model, "pool.size=99")


def test_from_s3_to_s3_and_on_from_where_it_stopped(
    s3: S3Server, untrained_model: Path, expected: dict[str, dict[str, Any]]
) -> None:
    from pipelines.output.parts import list_names
    from pipelines.storage.filesystem import resolve, write_atomic

    rows = mixed_rows(30)
    source, target = resolve("s3://bucket/in", s3.options), resolve("s3://bucket/out", s3.options)
    write_atomic(source.fs, source.path("a.jsonl"), jsonl(rows[:15]))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows[15:]), sink)
    write_atomic(source.fs, source.path("b.parquet"), sink.getvalue().to_pybytes())
    options = orjson.dumps(s3.options).decode()
    words = (f"corpus.storage={options}", f"output.storage={options}", "corpus.shard_rows=5")
    ran = run_job(["s3://bucket/in"], "s3://bucket/out", untrained_model, *words)
    assert ran.outcome.tally.shards == 6

    names = sorted(name for name in list_names(target) if name.startswith("part-"))
    target.fs.rm(target.path(names[1]))
    again = run_job(["s3://bucket/in"], "s3://bucket/out", untrained_model, *words)
    assert (again.outcome.shards_before, again.outcome.tally.shards) == (5, 1)
    found = [row for name in names for row in _rows_of(pa.BufferReader(target.fs.cat_file(target.path(name))))]
    _assert_answers(found, rows, expected)
    assert s3.secret not in target.fs.cat_file(target.path("_manifest.json")).decode()


def _rows_of(part: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(part).to_pylist()
    return rows


def test_a_limit_counts_rows_of_the_whole_corpus_and_a_complete_job_starts_nothing(
    tmp_path: Path, untrained_model: Path
) -> None:
    rows = mixed_rows(20)
    write_jsonl(tmp_path / "in" / "a.jsonl", rows[:8])
    pq.write_table(pa.Table.from_pylist(rows[8:]), tmp_path / "in" / "b.parquet", row_group_size=4)
    first = run_job([tmp_path / "in"], tmp_path / "out", untrained_model, limit=14)
    assert [row["id"] for row in part_rows(tmp_path / "out")] == [row["id"] for row in rows[:14]]
    again = run_job([tmp_path / "in"], tmp_path / "out", untrained_model, limit=14)
    assert first.log.startswith("starting Ray")
    assert again.log == ""
    assert (again.outcome.shards_before, again.outcome.tally.shards) == (2, 0)
